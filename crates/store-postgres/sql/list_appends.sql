-- What appends brought about, in the order of their ids.
-- Binds: 1 the id before the first, or NULL; 2 at most so many. Index: the primary key.
SELECT id, fingerprint, position, versions
FROM annals.appends
WHERE id > $1 OR $1 IS NULL
ORDER BY id
LIMIT $2
