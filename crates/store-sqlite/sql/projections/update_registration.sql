-- What an application that starts has to say about a projection that is known already.
-- Binds: ?1 name, ?2 inline, ?3 state, ?4 whether it starts anew (its table was gone), ?5 now,
--        ?6 its table or NULL.
-- Locks: the writer's transaction. Index: primary key.
UPDATE annals_projections
   SET inline = ?2,
       epoch = epoch + (state <> ?3 OR ?4),
       updated_at = iif(state <> ?3 OR ?4, ?5, updated_at),
       failure = iif(state <> ?3 OR ?4, NULL, failure),
       position = iif(?4, 0, position),
       event_id = iif(?4, NULL, event_id),
       read_model = iif(?4, ?6, read_model),
       state = ?3
 WHERE name = ?1
