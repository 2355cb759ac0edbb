-- A table's columns in order, with their types, whether they are part of the key, and whether a
-- sequence fills them: those differ from one table to the next without meaning anything.
-- Binds: $1 schema, $2 table.
-- Locks: none. Index: pg_attribute by table.
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
       EXISTS (SELECT FROM pg_catalog.pg_index AS i
                WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)),
       a.attidentity <> '' OR EXISTS (
           SELECT FROM pg_catalog.pg_attrdef AS f
             JOIN pg_catalog.pg_depend AS d ON d.objid = f.oid AND d.classid = 'pg_catalog.pg_attrdef'::regclass
             JOIN pg_catalog.pg_class AS s ON s.oid = d.refobjid AND s.relkind = 'S'
            WHERE f.adrelid = c.oid AND f.adnum = a.attnum)
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
 WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
