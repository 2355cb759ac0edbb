-- A page of events packed into one value, with the head of the log as this statement sees it.
--
-- Handing over a row costs sqlx more than reading it costs SQLite, so all events of a page come
-- as one blob of frames; `frame.rs` takes it apart. Only payload and ids may hold a line feed,
-- and they stand last. A large payload is left out, to be fetched by itself.
--
-- The limit is a sum because SQLite looks at the value of a bare variable there, and prepares the
-- statement again at every execution.
--
-- `/*where*/`, `/*order*/` and `/*limit*/` are filled in. Index: events by position, or
-- (stream, version) when one stream is read.
SELECT
    (SELECT coalesce(max(position), 0) FROM events),
    CAST(group_concat(frame, '') AS BLOB)
FROM (
    SELECT concat_ws(x'0A', position, version, schema_version, recorded_at,
        octet_length(payload), stream, type, ifnull(metadata, ''), ifnull(tags, ''),
        id, correlation_id, causation_id,
        iif(octet_length(payload) <= 32768, payload, '')) AS frame
    FROM events AS e
    WHERE /*where*/
    ORDER BY /*order*/
    LIMIT /*limit*/ + 0
)
