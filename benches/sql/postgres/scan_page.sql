-- A page of the log, every column.
-- Binds: 1 position after which it begins, 2 how many. Index: the primary key.
SELECT position, stream, version, type, schema_version, id, recorded_at,
    correlation_id, causation_id, metadata, tags, payload
FROM events
WHERE position > $1
ORDER BY position
LIMIT $2
