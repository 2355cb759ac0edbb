-- Puts the search path back.
-- Binds: $1 the path.
-- Locks: none. Index: none.
SELECT pg_catalog.set_config('search_path', $1, true)
