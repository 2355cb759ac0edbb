-- The sessions that hold a table, which a swap would have to wait for.
-- Binds: $1 schema, $2 table.
-- Locks: none. Index: none; there are few locks.
SELECT string_agg(DISTINCT l.pid::text, ', ')
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = $1 AND c.relname = $2 AND l.granted AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
