-- An epoch that no rebuild of this projection has had.
-- Binds: $1 name.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections SET rebuild_epoch = rebuild_epoch + 1 WHERE name = $1
RETURNING rebuild_epoch
