-- Begins a rebuild before the first event.
-- Binds: ?1 projection, ?2 owner, ?3 epoch, ?4 fingerprint, ?5 now, ?6 lease in seconds,
--        ?7 the table it fills or NULL.
-- Locks: the writer's transaction. Index: primary key.
INSERT INTO annals_rebuilds
       (projection, owner, epoch, fingerprint, started_at, lease_until, resumed, read_model)
VALUES (?1, ?2, ?3, ?4, ?5, unixepoch('subsec') + ?6, 0, ?7)
