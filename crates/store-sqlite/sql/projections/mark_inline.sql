-- From now on the projection commits within every append.
-- Binds: ?1 name.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections SET inline = 1 WHERE name = ?1
