-- Whether everything that a batch wrote is there, after a commit whose answer was lost: the
-- position before its first event, NULL unless all stand together in their order, and whether all
-- its appends are recorded.
-- Binds: 1 the events' ids, 2 their versions, 3 the appends' ids. Index: events_id and the primary
-- key of the appends.
SELECT
    (
        SELECT min(e.position - w.n)
        FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (id, version, n)
        JOIN annals.events AS e ON e.id = w.id AND e.version = w.version
        HAVING count(*) = cardinality($1::uuid[])
            AND min(e.position - w.n) = max(e.position - w.n)
    ),
    NOT EXISTS (
        SELECT FROM unnest($3::uuid[]) AS w (id)
        WHERE NOT EXISTS (SELECT FROM annals.appends AS a WHERE a.id = w.id)
    )
