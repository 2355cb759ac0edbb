-- How many events and transactions came after a position; each group commit is one transaction.
-- Binds: 1 position. Index: the primary key.
SELECT count(*), count(DISTINCT xmin::text) FROM events WHERE position > $1
