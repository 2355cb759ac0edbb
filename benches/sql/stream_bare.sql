-- A whole stream in order, only what the aggregate's state needs.
-- Binds: 1 stream. Index: events (stream, version).
SELECT type, payload FROM events WHERE stream = ?1 ORDER BY version
