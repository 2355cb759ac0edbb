-- Writes events. `/*rows*/` stands for one or several rows of binds.
-- Binds: 12 a row, in the order of the columns. Locks: the caller's write transaction.
INSERT INTO events (position, stream, version, type, schema_version, id, recorded_at,
    correlation_id, causation_id, metadata, tags, payload)
VALUES /*rows*/
