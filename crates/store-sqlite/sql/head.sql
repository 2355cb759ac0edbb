-- The position of the last event; 0 when there is none.
-- Index: the table's own b-tree, its last entry.
SELECT coalesce(max(position), 0) FROM events
