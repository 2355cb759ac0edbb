-- A stream's snapshot, if it is of this schema.
-- Binds: 1 stream, 2 schema. Index: the primary key.
SELECT version, state FROM annals.snapshots WHERE stream = $1 AND schema = $2
