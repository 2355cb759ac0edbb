-- Projections: what is known of each, the events put aside, and the rebuilds under way.
-- The names carry a prefix because these tables stand beside the application's own.

CREATE TABLE annals_projections (
    name          TEXT    NOT NULL PRIMARY KEY,
    state         TEXT    NOT NULL CHECK (state IN ('running', 'paused', 'failed', 'outdated', 'diverged')),
    inline        INTEGER NOT NULL CHECK (inline IN (0, 1)),
    read_model    TEXT             UNIQUE,             -- its table; NULL when it keeps its own
    position      INTEGER NOT NULL DEFAULT 0,          -- up to where the rows reach
    event_id      TEXT,                                -- of the event at that position
    epoch         INTEGER NOT NULL DEFAULT 1,
    fingerprint   TEXT    NOT NULL,
    owner         TEXT,
    updated_at    TEXT    NOT NULL,
    failure       TEXT             CHECK (failure IS NULL OR json_valid(failure)),
    retry_parked  INTEGER NOT NULL DEFAULT 0 CHECK (retry_parked IN (0, 1)),
    rebuild_epoch INTEGER NOT NULL DEFAULT 0           -- of its last rebuild; never falls
) STRICT, WITHOUT ROWID;

CREATE TABLE annals_parked (
    projection TEXT    NOT NULL,
    target     TEXT    NOT NULL CHECK (target IN ('live', 'rebuild')),
    position   INTEGER NOT NULL,
    stream     TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    since      TEXT    NOT NULL,
    PRIMARY KEY (projection, target, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE annals_rebuilds (
    projection  TEXT    NOT NULL PRIMARY KEY,
    owner       TEXT    NOT NULL,
    epoch       INTEGER NOT NULL,
    position    INTEGER NOT NULL DEFAULT 0,
    event_id    TEXT,
    fingerprint TEXT    NOT NULL,
    read_model  TEXT,                                  -- the table it fills, until that is swapped in
    started_at  TEXT    NOT NULL,
    lease_until REAL    NOT NULL,                      -- seconds since 1970, by this database's clock
    resumed     INTEGER NOT NULL CHECK (resumed IN (0, 1))
) STRICT, WITHOUT ROWID;
