-- What a rebuild put aside is put aside for the live table that it becomes.
-- Binds: $1 projection.
-- Locks: the rows. Index: primary key.
UPDATE annals.annals_parked SET target = 'live' WHERE projection = $1 AND target = 'rebuild'
