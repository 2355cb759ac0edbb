-- The time by this database's clock.
-- Binds: none.
-- Locks: none. Index: none.
SELECT clock_timestamp() AS now
