-- Prolongs the lease of a rebuild: no row means that somebody else has taken it over.
-- Binds: $1 projection, $2 epoch, $3 lease in seconds.
-- Locks: the rebuild's record. Index: primary key.
UPDATE annals.annals_rebuilds SET lease_until = clock_timestamp() + make_interval(secs => $3)
 WHERE projection = $1 AND epoch = $2
