-- The version of a stream's last event; 0 when there is none.
-- Binds: 1 stream. Index: events (stream, version), one entry.
SELECT coalesce(max(version), 0) FROM events WHERE stream = ?1
