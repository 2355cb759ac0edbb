-- Puts schemas in front of the search path until the transaction ends, and answers the path as it
-- was. The role's own path stays behind them.
-- Binds: $1 schemas, quoted and with commas between.
-- Locks: none. Index: none.
SELECT before, pg_catalog.set_config('search_path', concat_ws(', ', $1::text, nullif(before, '')), true)
  FROM (SELECT pg_catalog.current_setting('search_path') AS before OFFSET 0) AS path
