-- The event log, what appends with an id brought about, and snapshots.

-- One row an event. Positions are given out under the append lock as the last one plus 1, so they
-- are dense and in commit order; a sequence would leave holes, and gives out numbers too early.
CREATE TABLE annals.events (
    position       bigint      PRIMARY KEY,
    stream         text        COLLATE "C" NOT NULL,
    version        bigint      NOT NULL,
    type           text        COLLATE "C" NOT NULL,
    schema_version bigint      NOT NULL,
    id             uuid        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    correlation_id uuid        NOT NULL,
    causation_id   uuid        NOT NULL,
    metadata       text,                   -- JSON: actor, trace, extra
    tags           text,                   -- JSON: ["key:value", ...]
    payload        bytea       NOT NULL,
    CONSTRAINT events_stream UNIQUE (stream, version),
    CONSTRAINT events_id UNIQUE (id)
);

-- Which events have a tag, in order.
CREATE TABLE annals.event_tags (
    tag      text   COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tag, position)
);

-- What an append with an id brought about, so that repeating it answers as the first time.
CREATE TABLE annals.appends (
    id          uuid     PRIMARY KEY,
    fingerprint bytea    NOT NULL CHECK (length(fingerprint) = 16),
    position    bigint   NOT NULL,
    versions    bigint[] NOT NULL          -- in the order of the append's writes
);

-- One cached aggregate state a stream; never the truth.
CREATE TABLE annals.snapshots (
    stream  text   COLLATE "C" PRIMARY KEY,
    schema  text   NOT NULL,
    version bigint NOT NULL,
    state   bytea  NOT NULL
);

-- The payload as JSON, or NULL when it is none. Not jsonb, which refuses some JSON.
CREATE FUNCTION annals.payload_json(payload bytea) RETURNS json
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(payload, 'UTF8')::json;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

-- The log for human eyes. A payload that is no JSON is shown in hexadecimal.
CREATE VIEW annals.events_json AS
SELECT
    position,
    stream,
    version,
    type,
    schema_version,
    id,
    recorded_at,
    correlation_id,
    causation_id,
    metadata::json,
    tags::json,
    annals.payload_json(payload) AS payload,
    CASE WHEN annals.payload_json(payload) IS NULL THEN encode(payload, 'hex') END AS payload_hex
FROM annals.events;
