-- A page of events. A large payload is left out, to be fetched by itself; NULL tells.
-- `/*where*/`, `/*order*/` and `/*limit*/` are filled in. Index: events by position, or
-- events_stream when one stream is read.
SELECT e.position, e.stream, e.version, e.type, e.schema_version, e.id, e.recorded_at,
    e.correlation_id, e.causation_id, e.metadata, e.tags,
    CASE WHEN octet_length(e.payload) <= 32768 THEN e.payload END
FROM annals.events AS e
WHERE /*where*/
ORDER BY /*order*/
LIMIT /*limit*/
