-- Forgets all events put aside for one of a projection's tables.
-- Binds: $1 projection, $2 target.
-- Locks: the rows. Index: primary key.
DELETE FROM annals.annals_parked WHERE projection = $1 AND target = $2
