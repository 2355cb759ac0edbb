-- The parked events have been tried again, unless somebody has wished for it once more since.
-- Binds: $1 name, $2 epoch.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections SET retry_parked = false WHERE name = $1 AND epoch = $2
