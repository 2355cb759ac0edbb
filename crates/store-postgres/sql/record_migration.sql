-- Notes that a migration has run.
-- Binds: 1 version, 2 name.
INSERT INTO annals.annals_migrations (version, name) VALUES ($1, $2)
