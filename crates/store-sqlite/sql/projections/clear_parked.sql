-- Forgets all events put aside for one of a projection's tables.
-- Binds: ?1 projection, ?2 target.
-- Locks: the writer's transaction. Index: primary key.
DELETE FROM annals_parked WHERE projection = ?1 AND target = ?2
