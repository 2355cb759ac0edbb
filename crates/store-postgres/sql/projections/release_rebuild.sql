-- Ends the lease of a rebuild but leaves it to be resumed: no row means it was taken over.
-- Binds: $1 projection, $2 epoch.
-- Locks: the rebuild's record. Index: primary key.
UPDATE annals.annals_rebuilds SET lease_until = '-infinity' WHERE projection = $1 AND epoch = $2
