-- Where an inline projection stands, until the append's transaction ends: a swap waits for the
-- append, or the append for the swap. With the id that the log has at its checkpoint.
-- Binds: $1 name.
-- Locks: the record, after the append lock. Index: primary keys.
SELECT p.state, p.fingerprint, p.position, p.event_id,
       (SELECT e.id FROM annals.events AS e WHERE e.position = p.position) AS found,
       clock_timestamp() AS now
  FROM annals.annals_projections AS p
 WHERE p.name = $1
   FOR UPDATE OF p
