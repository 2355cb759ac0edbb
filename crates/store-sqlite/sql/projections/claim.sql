-- Takes the lease on running a projection, or renews it: no row means that somebody else holds it.
-- Another owner than the last one gets a new epoch, which fences the last one off.
-- Binds: ?1 name, ?2 owner, ?3 term in seconds.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections
   SET epoch = epoch + (owner IS NOT ?2), owner = ?2, lease_until = unixepoch('subsec') + ?3
 WHERE name = ?1 AND (owner IS ?2 OR lease_until <= unixepoch('subsec'))
RETURNING epoch
