-- Notes which tables a SQL projection has made.
-- Binds: $1 name, $2 its tables.
-- Locks: the record. Index: primary key, and the unique one on read_model.
UPDATE annals.annals_projections SET read_model = $2 WHERE name = $1
