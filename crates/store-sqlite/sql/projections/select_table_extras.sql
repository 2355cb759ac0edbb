-- The indexes and triggers that somebody has put on a table.
-- Binds: ?1 table.
-- Locks: the writer's transaction. Index: none; the schema is small.
SELECT name, sql FROM main.sqlite_schema
 WHERE tbl_name = ?1 AND type IN ('index', 'trigger') AND sql IS NOT NULL
