-- Checks the fence and moves the checkpoint, in one statement: no row means fenced.
-- Binds: $1 name, $2 epoch, $3 old position, $4 new position, $5 event id, $6 now.
-- Locks: the record; of two that come at once the second sees what the first did. Index: primary key.
UPDATE annals.annals_projections
   SET position = $4, event_id = $5, updated_at = $6
 WHERE name = $1 AND epoch = $2 AND position = $3 AND state = 'running'
