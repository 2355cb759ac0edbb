-- What an application that starts has to say about a projection that is known already.
-- Binds: $1 name, $2 inline, $3 state, $4 whether it starts anew (its table was gone), $5 now,
--        $6 its table or NULL.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections
   SET inline = $2,
       epoch = epoch + (state <> $3 OR $4)::integer,
       updated_at = CASE WHEN state <> $3 OR $4 THEN $5 ELSE updated_at END,
       failure = CASE WHEN state <> $3 OR $4 THEN NULL ELSE failure END,
       position = CASE WHEN $4 THEN 0 ELSE position END,
       event_id = CASE WHEN $4 THEN NULL ELSE event_id END,
       read_model = CASE WHEN $4 THEN $6 ELSE read_model END,
       state = $3
 WHERE name = $1
