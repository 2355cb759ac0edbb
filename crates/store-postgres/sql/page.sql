-- A page of events as one row: their fixed columns one after the other, names and JSON texts with
-- a unit separator between them (which none of them can contain), and the payloads one after the
-- other. A payload of more than 16384 bytes is left out, to be fetched by itself; its length tells.
-- All columns are NULL when there is no event.
--
-- Each ..._send takes 1 KiB of the 8 KiB that the server has at hand for a row before it looks for
-- more; so two numbers that are small share one.
--
-- The aggregates take the rows in the order of the subquery, which nothing comes between; the
-- reader checks positions and versions all the same.
-- `/*where*/`, `/*order*/` and `/*limit*/` are filled in. Index: events by position, or
-- events_stream when one stream is read.
SELECT
    string_agg(
        int8send(e.position) || int8send(e.version)
        || int8send(e.schema_version << 32 | octet_length(e.payload)) || uuid_send(e.id)
        || timestamptz_send(e.recorded_at) || uuid_send(e.correlation_id)
        || uuid_send(e.causation_id), ''),
    string_agg(e.stream, E'\x1f'),
    string_agg(e.type, E'\x1f'),
    string_agg(coalesce(e.metadata, ''), E'\x1f'),
    string_agg(coalesce(e.tags, ''), E'\x1f'),
    string_agg(CASE WHEN octet_length(e.payload) <= 16384 THEN e.payload END, '')
FROM (
    SELECT e.*
    FROM annals.events AS e
    WHERE /*where*/
    ORDER BY /*order*/
    LIMIT /*limit*/
) AS e
