-- The versions of several streams; one without events is left out.
-- Binds: 1 streams. Index: events_stream, one entry a stream.
SELECT s.stream, e.version
FROM unnest($1::text[]) AS s (stream)
CROSS JOIN LATERAL (
    SELECT version FROM annals.events WHERE stream = s.stream ORDER BY version DESC LIMIT 1
) AS e
