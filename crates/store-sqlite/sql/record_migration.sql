-- Notes that a migration has run.
-- Binds: 1 version, 2 name.
INSERT INTO annals_migrations (version, name, applied_at)
VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
