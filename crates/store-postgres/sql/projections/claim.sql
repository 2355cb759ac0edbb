-- Takes the lease on running a projection, or renews it: no row means that somebody else holds it.
-- Another owner than the last one gets a new epoch, which fences the last one off.
-- Binds: $1 name, $2 owner, $3 term in seconds.
-- Locks: the record; what is compared after waiting for it is what it is then. Index: primary key.
UPDATE annals.annals_projections
   SET epoch = epoch + (owner IS DISTINCT FROM $2)::integer,
       owner = $2,
       lease_until = clock_timestamp() + make_interval(secs => $3)
 WHERE name = $1 AND (owner IS NOT DISTINCT FROM $2 OR lease_until <= clock_timestamp())
RETURNING epoch
