-- A shadow file before the first event.
-- Binds: ?1 fingerprint, ?2 epoch.
-- Locks: the shadow file. Index: none.
INSERT INTO main.annals_shadow (fingerprint, epoch, position) VALUES (?1, ?2, 0)
