-- Tags that an event has and the index of tags lacks (1), and the other way round (0).
-- Binds: 1 at most so many. Reads both tables whole; looks each up in the other by its primary key.
SELECT e.position, t.value AS tag, 1 AS missing
FROM events AS e, json_each(e.tags) AS t
WHERE e.tags IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM event_tags AS i WHERE i.tag = t.value AND i.position = e.position
)
UNION ALL
SELECT i.position, i.tag, 0
FROM event_tags AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM events AS e, json_each(e.tags) AS t
    WHERE e.position = i.position AND t.value = i.tag
)
ORDER BY 1, 2
LIMIT ?1
