-- Forgets a rebuild.
-- Binds: $1 projection.
-- Locks: the rebuild's record. Index: primary key.
DELETE FROM annals.annals_rebuilds WHERE projection = $1
