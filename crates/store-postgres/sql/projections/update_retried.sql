-- The parked events have been tried again.
-- Binds: $1 name.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections SET retry_parked = false WHERE name = $1
