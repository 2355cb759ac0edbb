-- Where a shadow file stands.
-- Binds: none.
-- Locks: none. Index: none; there is one row.
SELECT fingerprint, started_at, epoch, position, event_id FROM main.annals_shadow
