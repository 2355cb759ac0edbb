-- What people have put on a live table, as statements that put it on the one in its place.
-- Stage 1 goes on the rebuilt table beforehand (`%1$s` is a new index's name, `%2$s` that table),
-- stage 2 while both tables are there, stage 3 when the old one has gone; 0 can't be carried over.
-- Binds: $1 live schema, $2 live table, $3 rebuilt schema, $4 rebuilt table.
-- Locks: none. Index: the catalogs are read by the table's oid.
WITH live AS (
    SELECT c.oid, c.relname, n.nspname, c.relowner, c.relacl, c.relrowsecurity,
           c.relforcerowsecurity
      FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2
), rebuilt AS (
    SELECT c.oid
      FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = $3 AND c.relname = $4
)
SELECT 1 AS stage, x.relname::text AS name,
       replace(format('CREATE %sINDEX ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END), '%', '%%')
       || '%1$s ON %2$s'
       || replace(substr(pg_catalog.pg_get_indexdef(i.indexrelid),
                         length(format('CREATE %sINDEX %I ON %I.%I',
                                       CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END,
                                       x.relname, live.nspname, live.relname)) + 1), '%', '%%') AS statement
  FROM live
  JOIN pg_catalog.pg_index AS i ON i.indrelid = live.oid AND i.indisvalid
  JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conindid = i.indexrelid)
   AND NOT EXISTS (SELECT FROM rebuilt
                     JOIN pg_catalog.pg_index AS j ON j.indrelid = rebuilt.oid
                     JOIN pg_catalog.pg_class AS y ON y.oid = j.indexrelid
                    WHERE y.relname = x.relname)
UNION ALL
SELECT CASE WHEN v.relkind = 'v' THEN 2 ELSE 0 END, format('%I.%I', n.nspname, v.relname),
       CASE WHEN v.relkind = 'v' THEN
           format('CREATE OR REPLACE VIEW %I.%I%s AS %s', n.nspname, v.relname,
                  ' WITH (' || array_to_string(v.reloptions, ', ') || ')',
                  pg_catalog.pg_get_viewdef(v.oid))
       ELSE 'materialized view' END
  FROM live
  JOIN pg_catalog.pg_class AS v ON v.oid IN (
       SELECT r.ev_class
         FROM pg_catalog.pg_depend AS d
         JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = live.oid)
  JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
 WHERE v.oid <> live.oid
UNION ALL
SELECT 0, p.polname::text, 'row security policy'
  FROM live JOIN pg_catalog.pg_policy AS p ON p.polrelid = live.oid
UNION ALL
SELECT 3, k.conname::text,
       format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', live.nspname, live.relname, k.conname,
              pg_catalog.pg_get_constraintdef(k.oid))
  FROM live JOIN pg_catalog.pg_constraint AS k ON k.conrelid = live.oid AND k.contype IN ('c', 'f', 'u', 'x')
 WHERE NOT EXISTS (SELECT FROM rebuilt JOIN pg_catalog.pg_constraint AS j ON j.conrelid = rebuilt.oid
                    WHERE j.conname = k.conname)
UNION ALL
-- From version 18 on NOT NULL is a constraint, whose name came from the rebuilt table's own.
SELECT 3, k.conname::text,
       format('ALTER TABLE %I.%I RENAME CONSTRAINT %I TO %I', live.nspname, live.relname, j.conname, k.conname)
  FROM live CROSS JOIN rebuilt
  JOIN pg_catalog.pg_constraint AS k ON k.conrelid = live.oid AND k.contype = 'n'
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = live.oid AND a.attnum = k.conkey[1]
  JOIN pg_catalog.pg_attribute AS b ON b.attrelid = rebuilt.oid AND b.attname = a.attname
  JOIN pg_catalog.pg_constraint AS j ON j.conrelid = rebuilt.oid AND j.contype = 'n' AND j.conkey[1] = b.attnum
 WHERE j.conname <> k.conname
UNION ALL
SELECT 3, t.tgname::text, pg_catalog.pg_get_triggerdef(t.oid)
  FROM live JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = live.oid AND NOT t.tgisinternal
 WHERE NOT EXISTS (SELECT FROM rebuilt JOIN pg_catalog.pg_trigger AS u ON u.tgrelid = rebuilt.oid
                    WHERE u.tgname = t.tgname)
UNION ALL
SELECT 3, 'a comment',
       CASE WHEN d.objsubid = 0
            THEN format('COMMENT ON TABLE %I.%I IS %L', live.nspname, live.relname, d.description)
            ELSE format('COMMENT ON COLUMN %I.%I.%I IS %L', live.nspname, live.relname, a.attname,
                        d.description) END
  FROM live
  JOIN pg_catalog.pg_description AS d ON d.objoid = live.oid AND d.classoid = 'pg_catalog.pg_class'::regclass
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = live.oid AND a.attnum = d.objsubid AND d.objsubid > 0
UNION ALL
SELECT 3, 'a grant',
       format('GRANT %s%s ON %I.%I TO %s%s', g.privilege_type, ' (' || quote_ident(g.attname) || ')',
              g.nspname, g.relname,
              CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,
              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM (SELECT live.*, NULL::name AS attname, acl.privilege_type, acl.grantee, acl.is_grantable
          FROM live CROSS JOIN LATERAL pg_catalog.aclexplode(live.relacl) AS acl
         UNION ALL
        SELECT live.*, a.attname, acl.privilege_type, acl.grantee, acl.is_grantable
          FROM live
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = live.oid AND a.attnum > 0 AND NOT a.attisdropped
         CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS acl) AS g
 WHERE g.grantee <> g.relowner
UNION ALL
-- Last, since the server checks a foreign key's rows under the owner's policies.
SELECT 4, 'row level security', format('ALTER TABLE %I.%I %s', live.nspname, live.relname, f.how)
  FROM live CROSS JOIN LATERAL (VALUES (live.relrowsecurity, 'ENABLE ROW LEVEL SECURITY'),
                                       (live.relforcerowsecurity, 'FORCE ROW LEVEL SECURITY')) AS f (set, how)
 WHERE f.set
UNION ALL
SELECT 4, 'the owner',
       format('ALTER TABLE %I.%I OWNER TO %I', live.nspname, live.relname,
              pg_catalog.pg_get_userbyid(live.relowner))
  FROM live WHERE pg_catalog.pg_get_userbyid(live.relowner) <> current_user
ORDER BY stage
