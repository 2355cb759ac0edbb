-- One event, as an application without a framework would write it; its version is refused by the
-- unique key when somebody else was faster.
-- Binds: 1 stream, 2 version, 3 type, 4 id, 5 recorded_at, 6 correlation and causation, 7 payload.
INSERT INTO events (stream, version, type, schema_version, id, recorded_at,
    correlation_id, causation_id, payload)
VALUES ($1, $2, $3, 1, $4, $5, $6, $6, $7)
