-- The events put aside for one of a projection's tables.
-- Binds: $1 projection, $2 target.
-- Locks: none. Index: primary key, in order.
SELECT position, stream, message, since
  FROM annals.annals_parked
 WHERE projection = $1 AND target = $2
 ORDER BY position
