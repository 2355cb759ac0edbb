-- What appends with these ids brought about.
-- Binds: 1 ids. Index: the primary key.
SELECT id, fingerprint, position, versions FROM annals.appends WHERE id = ANY ($1::uuid[])
