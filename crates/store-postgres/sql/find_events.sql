-- The events with these ids. A payload comes along only where it may be the one that is asked
-- about, which is as long: an id that is used again may be that of a large one.
-- Binds: 1 ids, 2 lengths of payloads; no pair twice. Index: events_id.
SELECT e.position, e.stream, e.version, e.type, e.schema_version, e.id, e.recorded_at,
    e.correlation_id, e.causation_id, e.metadata, e.tags,
    CASE WHEN octet_length(e.payload) = wanted.length THEN e.payload END
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (id, length)
JOIN annals.events AS e ON e.id = wanted.id
