-- Tags that an event has and the index of tags lacks (true), and the other way round (false).
-- Binds: 1 at most so many. Reads both tables whole, as they are at one moment.
SELECT position, tag, missing
FROM (
    SELECT e.position, t.tag, true AS missing
    FROM annals.events AS e
    CROSS JOIN LATERAL json_array_elements_text(e.tags::json) AS t (tag)
    WHERE NOT EXISTS (
        SELECT FROM annals.event_tags AS i WHERE i.tag = t.tag AND i.position = e.position
    )
    UNION ALL
    SELECT i.position, i.tag, false
    FROM annals.event_tags AS i
    WHERE NOT EXISTS (
        SELECT
        FROM annals.events AS e
        CROSS JOIN LATERAL json_array_elements_text(e.tags::json) AS t (tag)
        WHERE e.position = i.position AND t.tag = i.tag
    )
) AS m
ORDER BY position, tag COLLATE "C"
LIMIT $1
