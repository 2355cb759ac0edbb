-- The events with these ids, as far as a repeated append must equal them.
-- Binds: 1 JSON array of ids as hex text. Index: events_id.
SELECT e.id, e.position, e.stream, e.version, e.type, e.schema_version, e.tags, e.payload
FROM json_each(?1) AS wanted JOIN events AS e ON e.id = unhex(wanted.value)
