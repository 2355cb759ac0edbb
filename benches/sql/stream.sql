-- A whole stream in order, every column.
-- Binds: 1 stream. Index: events (stream, version).
SELECT position, stream, version, type, schema_version, id, recorded_at,
    correlation_id, causation_id, metadata, tags, payload
FROM events
WHERE stream = ?1
ORDER BY version
