-- Ends the lease on running a projection, but leaves who held it to be seen.
-- Binds: $1 name, $2 owner.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections SET lease_until = '-infinity' WHERE name = $1 AND owner = $2
