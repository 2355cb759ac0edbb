-- Answers a row when the rebuild that was begun last is this one, and has ended.
-- Binds: $1 projection, $2 epoch.
-- Locks: none. Index: primary keys.
SELECT 1 FROM annals.annals_projections AS p
 WHERE p.name = $1 AND p.rebuild_epoch = $2
   AND NOT EXISTS (SELECT FROM annals.annals_rebuilds AS r WHERE r.projection = p.name)
