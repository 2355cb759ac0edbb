-- The time by this database's clock.
-- Binds: none.
-- Locks: none. Index: none.
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
