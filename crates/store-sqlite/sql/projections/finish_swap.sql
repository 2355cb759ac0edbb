-- The live record after a swap: the rebuild's checkpoint and fingerprint, in a new epoch.
-- Binds: ?1 name, ?2 position, ?3 event id, ?4 fingerprint, ?5 owner, ?6 now, ?7 its table or tables.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections
   SET state = 'running', position = ?2, event_id = ?3, fingerprint = ?4, owner = ?5,
       updated_at = ?6, read_model = ?7, epoch = epoch + 1, failure = NULL, retry_parked = 0
 WHERE name = ?1
