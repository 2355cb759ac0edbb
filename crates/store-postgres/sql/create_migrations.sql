-- The store's own list of migrations that have run.
CREATE TABLE IF NOT EXISTS annals.annals_migrations (
    version    bigint      PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
