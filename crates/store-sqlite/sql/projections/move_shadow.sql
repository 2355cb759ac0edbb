-- Checks the fence of a shadow file and moves its checkpoint: no row means fenced.
-- Binds: ?1 epoch, ?2 old position, ?3 new position, ?4 event id.
-- Locks: the shadow file. Index: none; there is one row.
UPDATE main.annals_shadow SET position = ?3, event_id = ?4 WHERE epoch = ?1 AND position = ?2
