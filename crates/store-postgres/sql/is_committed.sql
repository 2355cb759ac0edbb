-- Whether everything that a batch wrote is there, after a commit whose answer was lost.
-- Binds: 1 the events' positions, 2 their ids, 3 the appends' ids. Index: the primary keys.
SELECT NOT EXISTS (
    SELECT FROM unnest($1::bigint[], $2::uuid[]) AS w (position, id)
    WHERE NOT EXISTS (SELECT FROM annals.events AS e WHERE e.position = w.position AND e.id = w.id)
) AND NOT EXISTS (
    SELECT FROM unnest($3::uuid[]) AS w (id)
    WHERE NOT EXISTS (SELECT FROM annals.appends AS a WHERE a.id = w.id)
)
