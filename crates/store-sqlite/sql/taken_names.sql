-- Tables and views that stand where the store's own would go, NULL when there are none.
SELECT group_concat(type || ' ' || name, ', ' ORDER BY name)
FROM sqlite_schema
WHERE type IN ('table', 'view')
  AND name IN ('events', 'event_tags', 'appends', 'snapshots', 'events_json')
