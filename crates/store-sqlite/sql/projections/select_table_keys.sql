-- The columns of a table's primary key, in order.
-- Binds: ?1 table.
-- Locks: none. Index: none; the schema is small.
SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk
