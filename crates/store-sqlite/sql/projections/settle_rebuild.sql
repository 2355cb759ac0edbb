-- Brings a rebuild's record in line with its shadow file, which a crash left apart.
-- Binds: ?1 projection, ?2 epoch, ?3 position, ?4 event id.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_rebuilds SET position = ?3, event_id = ?4 WHERE projection = ?1 AND epoch = ?2
