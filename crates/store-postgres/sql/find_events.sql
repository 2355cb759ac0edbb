-- The events with these ids.
-- Binds: 1 ids. Index: events_id.
SELECT position, stream, version, type, schema_version, id, recorded_at, correlation_id,
    causation_id, metadata, tags, payload
FROM annals.events
WHERE id = ANY ($1::uuid[])
