-- Begins a rebuild before the first event.
-- Binds: $1 projection, $2 owner, $3 epoch, $4 fingerprint, $5 now, $6 lease in seconds,
--        $7 the table it fills or NULL.
-- Locks: the new row. Index: primary key.
INSERT INTO annals.annals_rebuilds
       (projection, owner, epoch, fingerprint, started_at, lease_until, resumed, read_model)
VALUES ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6), false, $7)
