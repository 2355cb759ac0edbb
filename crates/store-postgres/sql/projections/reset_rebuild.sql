-- Lets a rebuild whose tables were lost begin again: no row means it was taken over.
-- Binds: $1 projection, $2 epoch.
-- Locks: the rebuild's record. Index: primary key.
UPDATE annals.annals_rebuilds SET position = 0, event_id = NULL WHERE projection = $1 AND epoch = $2
