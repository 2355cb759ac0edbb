-- The first event that each of several conditions forbids; a condition may have several items.
-- Binds: 1 JSON: [{"n", "after", "categories", "types", "tags"}, ...], an item each, where `n` is the
-- condition's number and null asks for nothing.
-- Index: event_tags for an item with tags, else events by position.
SELECT i.n, min(m.position)
FROM jsonb_to_recordset($1::text::jsonb)
    AS i (n bigint, after bigint, categories text[], types text[], tags text[])
CROSS JOIN LATERAL (
    (
        SELECT t.position
        FROM annals.event_tags AS t
        WHERE t.tag = i.tags[1]
          AND t.position > i.after
          AND NOT EXISTS (
              SELECT FROM unnest(i.tags[2:]) AS other (tag)
              WHERE NOT EXISTS (
                  SELECT FROM annals.event_tags AS o
                  WHERE o.tag = other.tag AND o.position = t.position
              )
          )
          AND (i.types IS NULL AND i.categories IS NULL OR EXISTS (
              SELECT FROM annals.events AS e
              WHERE e.position = t.position
                AND (i.types IS NULL OR e.type = ANY (i.types))
                AND (i.categories IS NULL OR split_part(e.stream, '-', 1) = ANY (i.categories))
          ))
        ORDER BY t.position
        LIMIT 1
    )
    UNION ALL
    (
        SELECT e.position
        FROM annals.events AS e
        WHERE i.tags IS NULL
          AND e.position > i.after
          AND (i.types IS NULL OR e.type = ANY (i.types))
          AND (i.categories IS NULL OR split_part(e.stream, '-', 1) = ANY (i.categories))
        ORDER BY e.position
        LIMIT 1
    )
) AS m
GROUP BY i.n
