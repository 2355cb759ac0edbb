-- Takes a rebuild over from where its last owner stopped.
-- Binds: ?1 projection, ?2 owner, ?3 epoch, ?4 lease in seconds.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_rebuilds
   SET owner = ?2, epoch = ?3, lease_until = unixepoch('subsec') + ?4, resumed = 1
 WHERE projection = ?1
