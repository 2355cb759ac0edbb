-- What appends with these ids brought about.
-- Binds: 1 JSON array of ids as hex text. Index: the primary key.
SELECT a.id, a.fingerprint, a.position, a.versions
FROM json_each(?1) AS wanted JOIN appends AS a ON a.id = unhex(wanted.value)
