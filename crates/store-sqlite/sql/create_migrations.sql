-- The store's own list of migrations that have run.
CREATE TABLE IF NOT EXISTS annals_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at TEXT    NOT NULL
) STRICT
