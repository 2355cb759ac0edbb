-- Whether a schema is there, and what its comment says: a schema that this store did not make is
-- left alone.
-- Binds: $1 schema.
-- Locks: none. Index: pg_namespace by name.
SELECT coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '')
  FROM pg_catalog.pg_namespace WHERE nspname = $1
