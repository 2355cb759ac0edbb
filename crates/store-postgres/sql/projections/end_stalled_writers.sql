-- Ends our sessions that write to a table and wait for their client to say more: one that is
-- stopped in the middle of a COPY would hold the table for as long as it likes, as the server
-- counts that as work and no time-out of it applies. Sessions of other roles are left alone.
-- Binds: $1 schema, $2 table.
-- Locks: none. Index: none; there are few locks.
SELECT pg_catalog.pg_terminate_backend(a.pid)
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.relation = pg_catalog.to_regclass(format('%I.%I', $1::text, $2::text))
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND l.granted AND l.mode IN ('RowExclusiveLock', 'AccessExclusiveLock')
   AND a.usename = current_user AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.state = 'active' AND a.wait_event = 'ClientRead'
