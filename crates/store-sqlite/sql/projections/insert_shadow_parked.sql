-- Notes an event put aside together with the rows of the events around it.
-- Binds: ?1 position, ?2 stream, ?3 why, ?4 since when.
-- Locks: the shadow file. Index: primary key.
INSERT INTO main.annals_shadow_parked (position, stream, message, since) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (position) DO UPDATE SET message = excluded.message
