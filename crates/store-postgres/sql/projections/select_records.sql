-- What is stored about all projections, or about one, with its rebuild.
-- Binds: $1 name, or NULL for all.
-- Locks: none. Index: the tables have a row per projection; parked events are counted by primary key.
SELECT p.name, p.state, p.inline, p.read_model, p.position, p.event_id, p.epoch, p.fingerprint,
       p.owner, p.lease_until > clock_timestamp() AS leased, p.updated_at,
       p.failure::text AS failure, p.retry_parked,
       (SELECT count(*) FROM annals.annals_parked AS k
         WHERE k.projection = p.name AND k.target = 'live') AS parked,
       r.owner AS rebuild_owner, r.epoch AS rebuild_epoch, r.position AS rebuild_position,
       r.event_id AS rebuild_event_id, r.fingerprint AS rebuild_fingerprint,
       r.read_model AS rebuild_table, r.started_at AS rebuild_started_at,
       r.lease_until > clock_timestamp() AS rebuild_leased, r.resumed AS rebuild_resumed
  FROM annals.annals_projections AS p
  LEFT JOIN annals.annals_rebuilds AS r ON r.projection = p.name
 WHERE $1::text IS NULL OR p.name = $1
 ORDER BY p.name
