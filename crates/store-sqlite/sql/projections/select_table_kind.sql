-- Whether something of this name is in the database, and what.
-- Binds: ?1 name.
-- Locks: none. Index: none; the schema is small.
SELECT type FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE
