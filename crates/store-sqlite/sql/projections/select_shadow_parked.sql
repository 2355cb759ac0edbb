-- The events put aside so far.
-- Binds: none.
-- Locks: none. Index: primary key, in order.
SELECT position, stream, message, since FROM main.annals_shadow_parked ORDER BY position
