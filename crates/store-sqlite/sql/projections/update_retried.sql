-- The parked events have been tried again, unless somebody has wished for it once more since.
-- Binds: ?1 name, ?2 epoch.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections SET retry_parked = 0 WHERE name = ?1 AND epoch = ?2
