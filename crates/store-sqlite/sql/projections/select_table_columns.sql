-- A table's columns, in order.
-- Binds: ?1 table.
-- Locks: none. Index: none; the schema is small.
SELECT name FROM pragma_table_info(?1) ORDER BY cid
