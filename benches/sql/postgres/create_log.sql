-- The log of an application without a framework: the store's columns and indexes, with positions
-- from an identity column. `/*schema*/` is filled in.
CREATE TABLE /*schema*/.events (
    position       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream         text        COLLATE "C" NOT NULL,
    version        bigint      NOT NULL,
    type           text        COLLATE "C" NOT NULL,
    schema_version bigint      NOT NULL,
    id             uuid        NOT NULL UNIQUE,
    recorded_at    timestamptz NOT NULL,
    correlation_id uuid        NOT NULL,
    causation_id   uuid        NOT NULL,
    metadata       text,
    tags           text,
    payload        bytea       NOT NULL,
    UNIQUE (stream, version)
)
