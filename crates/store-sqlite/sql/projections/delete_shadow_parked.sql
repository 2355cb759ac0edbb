-- Takes back an event that was put aside.
-- Binds: ?1 position.
-- Locks: the shadow file. Index: primary key.
DELETE FROM main.annals_shadow_parked WHERE position = ?1
