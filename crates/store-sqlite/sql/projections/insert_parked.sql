-- Puts an event aside; one that is aside already keeps its date.
-- Binds: ?1 projection, ?2 target, ?3 position, ?4 stream, ?5 why, ?6 since when.
-- Locks: the writer's transaction. Index: primary key.
INSERT INTO annals_parked (projection, target, position, stream, message, since)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (projection, target, position) DO UPDATE SET message = excluded.message
