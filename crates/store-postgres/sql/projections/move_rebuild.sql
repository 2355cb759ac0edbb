-- Checks a rebuild's fence and moves its checkpoint, in one statement: no row means fenced.
-- Binds: $1 projection, $2 epoch, $3 old position, $4 new position, $5 event id.
-- Locks: the rebuild's record. Index: primary key.
UPDATE annals.annals_rebuilds
   SET position = $4, event_id = $5
 WHERE projection = $1 AND epoch = $2 AND position = $3
