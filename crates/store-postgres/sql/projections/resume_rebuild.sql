-- Takes a rebuild over from where its last owner stopped.
-- Binds: $1 projection, $2 owner, $3 epoch, $4 lease in seconds.
-- Locks: the rebuild's record. Index: primary key.
UPDATE annals.annals_rebuilds
   SET owner = $2, epoch = $3, resumed = true,
       lease_until = clock_timestamp() + make_interval(secs => $4)
 WHERE projection = $1
