-- The event log, what appends with an id brought about, and snapshots.

-- One row an event. Positions are given out by the writer as the last one plus 1, under the
-- write lock, so they are dense and in commit order; AUTOINCREMENT could leave holes.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    stream         TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    type           TEXT    NOT NULL,
    schema_version INTEGER NOT NULL,
    id             BLOB    NOT NULL,
    recorded_at    INTEGER NOT NULL,  -- microseconds since 1970-01-01 UTC
    correlation_id BLOB    NOT NULL,
    causation_id   BLOB    NOT NULL,
    metadata       TEXT,              -- JSON: actor, trace, extra
    tags           TEXT,              -- JSON: ["key:value", ...]
    payload        BLOB    NOT NULL,
    UNIQUE (stream, version)
) STRICT;

CREATE UNIQUE INDEX events_id ON events (id);

-- Which events have a tag, in order.
CREATE TABLE event_tags (
    tag      TEXT    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID;

-- What an append with an id brought about, so that repeating it answers as the first time.
CREATE TABLE appends (
    id          BLOB    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    position    INTEGER NOT NULL,
    versions    TEXT    NOT NULL      -- JSON: [version, ...], in the order of the writes
) STRICT, WITHOUT ROWID;

-- One cached aggregate state a stream; never the truth.
CREATE TABLE snapshots (
    stream  TEXT    PRIMARY KEY,
    schema  TEXT    NOT NULL,
    version INTEGER NOT NULL,
    state   BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- The log for human eyes.
CREATE VIEW events_json AS
SELECT
    position,
    stream,
    version,
    type,
    schema_version,
    lower(format('%s-%s-%s-%s-%s', substr(hex(id), 1, 8), substr(hex(id), 9, 4),
        substr(hex(id), 13, 4), substr(hex(id), 17, 4), substr(hex(id), 21))) AS id,
    strftime('%Y-%m-%dT%H:%M:%S', (recorded_at - (recorded_at % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')
        || format('.%06dZ', (recorded_at % 1000000 + 1000000) % 1000000) AS recorded_at,
    lower(format('%s-%s-%s-%s-%s', substr(hex(correlation_id), 1, 8), substr(hex(correlation_id), 9, 4),
        substr(hex(correlation_id), 13, 4), substr(hex(correlation_id), 17, 4),
        substr(hex(correlation_id), 21))) AS correlation_id,
    lower(format('%s-%s-%s-%s-%s', substr(hex(causation_id), 1, 8), substr(hex(causation_id), 9, 4),
        substr(hex(causation_id), 13, 4), substr(hex(causation_id), 17, 4),
        substr(hex(causation_id), 21))) AS causation_id,
    metadata,
    tags,
    CASE WHEN json_valid(CAST(payload AS TEXT)) THEN CAST(payload AS TEXT) END AS payload,
    CASE WHEN NOT json_valid(CAST(payload AS TEXT)) THEN hex(payload) END AS payload_hex
FROM events;
