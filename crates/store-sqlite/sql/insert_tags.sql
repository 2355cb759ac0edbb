-- Enters the tags of new events; one that an event has twice is entered once.
-- Binds: 1 the position before the first of them. Locks: the caller's write transaction.
INSERT OR IGNORE INTO event_tags (tag, position)
SELECT t.value, e.position
FROM events AS e, json_each(e.tags) AS t
WHERE e.position > ?1 AND e.tags IS NOT NULL
