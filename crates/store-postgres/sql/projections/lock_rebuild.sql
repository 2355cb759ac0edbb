-- Keeps a rebuild's record as it is until the transaction ends; after the projection's own.
-- Binds: $1 projection.
-- Locks: the record. Index: primary key.
SELECT position FROM annals.annals_rebuilds WHERE projection = $1 FOR UPDATE
