-- The version that a stream had when the log reached a position.
-- Binds: 1 stream, 2 position. Index: events (stream, version), backwards until it fits.
SELECT version FROM events
WHERE stream = ?1 AND position <= ?2
ORDER BY version DESC
LIMIT 1
