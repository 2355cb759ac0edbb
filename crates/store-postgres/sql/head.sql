-- The position of the last event; 0 when there is none.
-- Index: the primary key, its last entry.
SELECT coalesce(max(position), 0) FROM annals.events
