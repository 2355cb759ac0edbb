-- The parked events have been tried again.
-- Binds: ?1 name.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections SET retry_parked = 0 WHERE name = ?1
