-- Keeps a projection's record as it is until the transaction ends.
-- Binds: $1 name.
-- Locks: the record. Index: primary key.
SELECT position FROM annals.annals_projections WHERE name = $1 FOR UPDATE
