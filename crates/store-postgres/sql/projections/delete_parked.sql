-- Takes back events that were put aside.
-- Binds: $1 projection, $2 target, $3 positions.
-- Locks: the rows. Index: primary key.
DELETE FROM annals.annals_parked
 WHERE projection = $1 AND target = $2 AND position = ANY ($3::bigint[])
