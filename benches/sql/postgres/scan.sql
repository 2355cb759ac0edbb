-- The whole log in order, every column. Index: the primary key.
SELECT position, stream, version, type, schema_version, id, recorded_at,
    correlation_id, causation_id, metadata, tags, payload
FROM events
ORDER BY position
