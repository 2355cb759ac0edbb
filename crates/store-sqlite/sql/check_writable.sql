-- Changes nothing, but fails as any write does: SQLite opens a file that it can't write for
-- reading, and then lets even BEGIN IMMEDIATE pass.
UPDATE annals_migrations SET version = version WHERE FALSE
