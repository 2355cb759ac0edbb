-- What a table's primary key is called.
-- Binds: $1 schema, $2 table.
-- Locks: none. Index: pg_constraint_conrelid_contypid_conname_index.
SELECT conname::text
FROM pg_constraint
WHERE conrelid = to_regclass(format('%I.%I', $1::text, $2::text)) AND contype = 'p'
