-- Notes which tables a SQL projection has made.
-- Binds: ?1 name, ?2 its tables.
-- Locks: the writer's transaction. Index: primary key, and the unique one on read_model.
UPDATE annals_projections SET read_model = ?2 WHERE name = ?1
