-- The version of a stream.
-- Binds: 1 stream. Index: events (stream, version), one entry.
SELECT coalesce(max(version), 0) FROM events WHERE stream = $1
