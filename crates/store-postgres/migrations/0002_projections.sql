-- Projections: what is known of each, the events put aside, and the rebuilds under way.
-- The names carry a prefix because read models of the application stand in the same schema.

-- A checkpoint moves with every batch: room on the page spares new entries in the indexes.
CREATE TABLE annals.annals_projections (
    name          text        COLLATE "C" PRIMARY KEY,
    state         text        NOT NULL CHECK (state IN ('running', 'paused', 'failed', 'outdated', 'diverged')),
    inline        boolean     NOT NULL,
    read_model    text        COLLATE "C" UNIQUE,          -- its table; NULL when it keeps its own
    position      bigint      NOT NULL DEFAULT 0,          -- up to where the rows reach
    event_id      uuid,                                    -- of the event at that position
    epoch         bigint      NOT NULL DEFAULT 1,
    fingerprint   text        NOT NULL,
    owner         text,                                    -- who holds the lease, or held it last
    lease_until   timestamptz NOT NULL DEFAULT '-infinity', -- by this database's clock
    updated_at    timestamptz NOT NULL,
    failure       json,
    retry_parked  boolean     NOT NULL DEFAULT false,
    rebuild_epoch bigint      NOT NULL DEFAULT 0           -- of its last rebuild; never falls
) WITH (fillfactor = 50);

CREATE TABLE annals.annals_parked (
    projection text        COLLATE "C" NOT NULL,
    target     text        COLLATE "C" NOT NULL CHECK (target IN ('live', 'rebuild')),
    position   bigint      NOT NULL,
    stream     text        NOT NULL,
    message    text        NOT NULL,
    since      timestamptz NOT NULL,
    PRIMARY KEY (projection, target, position)
);

CREATE TABLE annals.annals_rebuilds (
    projection  text        COLLATE "C" PRIMARY KEY,
    owner       text        NOT NULL,
    epoch       bigint      NOT NULL,
    position    bigint      NOT NULL DEFAULT 0,
    event_id    uuid,
    fingerprint text        NOT NULL,
    read_model  text,                                      -- the table it fills, until that is swapped in
    started_at  timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,                      -- by this database's clock
    resumed     boolean     NOT NULL
) WITH (fillfactor = 50);
