-- Takes the append lock: whoever holds it gives out positions until the transaction ends.
-- Locks: an advisory lock of the transaction, keyed by this number and the events table; in
-- pg_locks `objid` is 'annals.events'::regclass.
SELECT pg_catalog.pg_advisory_xact_lock(20817, 'annals.events'::regclass::oid::integer)
