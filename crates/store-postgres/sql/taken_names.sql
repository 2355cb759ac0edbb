-- Tables and views that stand where the store's own would go, NULL when there are none.
SELECT string_agg(c.relname::text, ', ' ORDER BY c.relname)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'annals'
  AND c.relname IN ('events', 'event_tags', 'appends', 'snapshots', 'events_json')
