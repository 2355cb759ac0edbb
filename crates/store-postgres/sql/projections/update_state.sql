-- Pauses, resumes or retries. Running clears the failure and asks for parked events again.
-- Binds: $1 name, $2 state, $3 now.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections
   SET state = $2,
       epoch = epoch + 1,
       updated_at = $3,
       failure = CASE WHEN $2 = 'running' THEN NULL ELSE failure END,
       retry_parked = retry_parked OR $2 = 'running'
 WHERE name = $1
