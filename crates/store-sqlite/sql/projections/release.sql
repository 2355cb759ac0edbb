-- Ends the lease on running a projection, but leaves who held it to be seen.
-- Binds: ?1 name, ?2 owner.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections SET lease_until = 0 WHERE name = ?1 AND owner = ?2
