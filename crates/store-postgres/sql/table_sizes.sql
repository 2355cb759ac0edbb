-- What each table takes on disk, with its indexes and what is stored out of line; largest first.
-- A table that was dropped meanwhile has no size. Locks: ACCESS SHARE for a moment each.
SELECT c.relname::text, s.bytes
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.pg_total_relation_size(c.oid) AS s (bytes)
WHERE n.nspname = 'annals' AND c.relkind IN ('r', 'm') AND s.bytes IS NOT NULL
ORDER BY s.bytes DESC, 1
