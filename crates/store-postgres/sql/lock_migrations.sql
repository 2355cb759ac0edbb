-- Lets one process at a time bring the tables up to date.
-- Locks: an advisory lock of the transaction, keyed by the schema's name, as nothing else of it
-- need be there yet. 20,818 is this statement's own number.
SELECT pg_catalog.pg_advisory_xact_lock(20818, pg_catalog.hashtext('annals'))
