-- A shadow file before the first event.
-- Binds: ?1 fingerprint, ?2 when its rebuild was begun, ?3 epoch.
-- Locks: the shadow file. Index: none.
INSERT INTO main.annals_shadow (fingerprint, started_at, epoch, position) VALUES (?1, ?2, ?3, 0)
