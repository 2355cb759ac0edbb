-- Keeps a snapshot in place of the one before, unless that is newer and of the same schema.
-- Binds: 1 stream, 2 schema, 3 version, 4 state. Index: the primary key.
INSERT INTO annals.snapshots AS s (stream, schema, version, state)
VALUES ($1, $2, $3, $4)
ON CONFLICT (stream) DO UPDATE
SET schema = excluded.schema, version = excluded.version, state = excluded.state
WHERE s.schema <> excluded.schema OR s.version <= excluded.version
