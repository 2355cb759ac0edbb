-- Forgets a rebuild.
-- Binds: ?1 projection.
-- Locks: the writer's transaction. Index: primary key.
DELETE FROM annals_rebuilds WHERE projection = ?1
