-- Appends a batch that was decided on trust; see migrations/0003_append_at_once.sql.
-- Binds: 1 a known position and 2 the id of its event, 3 lock_timeout, 4-14 the events' columns,
-- 15 tags and 16 their events' numbers, 17-20 the appends' columns with versions as text, 21
-- whether to notify, 22 streams and 23 versions that their callers say they have reached: -1, with
-- nothing written, when one has not. That one has is known without the lock, as streams only grow;
-- the unique index says when one has gone on.
-- Locks: ACCESS SHARE on events, then the append lock, until the statement's own transaction has
-- committed. For the former it waits as long as the session's lock_timeout says.
SELECT CASE
    WHEN EXISTS (
        SELECT FROM unnest($22::text[], $23::bigint[]) AS c (stream, version)
        WHERE NOT EXISTS (
            SELECT FROM annals.events AS e WHERE e.stream = c.stream AND e.version = c.version
        )
    ) THEN -1
    ELSE annals.append_at_once($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
        $16, $17, $18, $19, $20, $21)
END
