-- Takes back an event that was put aside.
-- Binds: ?1 projection, ?2 target, ?3 position.
-- Locks: the writer's transaction. Index: primary key.
DELETE FROM annals_parked WHERE projection = ?1 AND target = ?2 AND position = ?3
