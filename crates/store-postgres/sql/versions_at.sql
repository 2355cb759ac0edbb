-- The versions that streams had when the log reached positions.
-- Binds: 1 streams, 2 positions. Index: events_stream, backwards until it fits.
SELECT s.stream, s.position, e.version
FROM unnest($1::text[], $2::bigint[]) AS s (stream, position)
CROSS JOIN LATERAL (
    SELECT version FROM annals.events
    WHERE stream = s.stream AND position <= s.position
    ORDER BY version DESC
    LIMIT 1
) AS e
