-- Where the file of a SQL projection's rebuild stands. One row, committed with the rows it counts.
-- Binds: none.
-- Locks: the shadow file. Index: none.
CREATE TABLE annals_shadow (
    fingerprint TEXT    NOT NULL,
    started_at  TEXT    NOT NULL,
    epoch       INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    event_id    TEXT
) STRICT;
CREATE TABLE annals_shadow_parked (
    position INTEGER NOT NULL PRIMARY KEY,
    stream   TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    since    TEXT    NOT NULL
) STRICT
