-- The head of the log. Index: the primary key, one entry.
SELECT coalesce(max(position), 0) FROM events
