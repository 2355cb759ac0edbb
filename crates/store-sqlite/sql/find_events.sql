-- The events with these ids, as far as a repeated append must equal them. A payload comes along
-- only where it may be the one that is asked about, which is as long: an id that is used again may
-- be that of a large one.
-- Binds: 1 JSON array of ids as 32 hex digits, each followed by the length of a payload. Index:
-- events_id.
SELECT e.id, e.position, e.stream, e.version, e.type, e.schema_version, e.tags,
    CASE WHEN length(e.payload) = CAST(substr(wanted.value, 33) AS INTEGER) THEN e.payload END
FROM json_each(?1) AS wanted JOIN events AS e ON e.id = unhex(substr(wanted.value, 1, 32))
