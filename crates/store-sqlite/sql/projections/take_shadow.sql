-- Takes a shadow file over: whoever had it can't commit to it any more.
-- Binds: ?1 epoch.
-- Locks: the shadow file. Index: none; there is one row.
UPDATE main.annals_shadow SET epoch = ?1 WHERE epoch <= ?1
