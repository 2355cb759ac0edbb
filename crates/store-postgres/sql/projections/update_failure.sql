-- Stops a projection, unless somebody has moved it on.
-- Binds: $1 name, $2 epoch, $3 position, $4 state, $5 failure as JSON, $6 since when.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections
   SET state = $4, failure = $5::json, updated_at = $6
 WHERE name = $1 AND epoch = $2 AND position = $3
