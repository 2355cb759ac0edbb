-- Attaches a database file beside the main one.
-- Binds: ?1 file or URI, ?2 name.
-- Locks: none. Index: none.
ATTACH DATABASE ?1 AS ?2
