-- Pauses, resumes or retries. Running clears the failure and asks for parked events again.
-- Binds: ?1 name, ?2 state, ?3 now.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections
   SET state = ?2,
       epoch = epoch + 1,
       updated_at = ?3,
       failure = iif(?2 = 'running', NULL, failure),
       retry_parked = iif(?2 = 'running', 1, retry_parked)
 WHERE name = ?1
