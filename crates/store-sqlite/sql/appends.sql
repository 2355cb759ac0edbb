-- A page of what appends with an id brought about, in the order of their ids.
-- Binds: 1 the id before the first (empty: from the beginning), 2 at most how many.
-- Index: the primary key.
SELECT id, fingerprint, position, versions
FROM appends
WHERE id > ?1
ORDER BY id
LIMIT ?2 + 0
