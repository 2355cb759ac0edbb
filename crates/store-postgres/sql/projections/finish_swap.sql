-- The live record after a swap: the rebuild's checkpoint and fingerprint, in a new epoch.
-- Binds: $1 name, $2 position, $3 event id, $4 fingerprint, $5 now, $6 its table or tables.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections
   SET state = 'running', position = $2, event_id = $3, fingerprint = $4,
       updated_at = $5, read_model = $6, epoch = epoch + 1, failure = NULL, retry_parked = false
 WHERE name = $1
