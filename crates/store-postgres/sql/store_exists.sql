-- Whether the schema is there, and the list of migrations in it.
SELECT
    EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'annals'),
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'annals' AND c.relname = 'annals_migrations'
    )
