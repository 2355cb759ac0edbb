-- The newest migration that has run; 0 when none has.
SELECT coalesce(max(version), 0) FROM annals.annals_migrations
