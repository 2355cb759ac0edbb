-- The version of a stream's last event; 0 when there is none.
-- Binds: 1 stream. Index: events_stream, one entry.
SELECT coalesce(max(version), 0) FROM annals.events WHERE stream = $1
