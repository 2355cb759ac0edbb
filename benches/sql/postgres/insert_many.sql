-- Many events at once, with nothing checked: the limit of one connection that appends.
-- Binds: 1 positions, 2 streams, 3 versions, 4 types, 5 ids, 6 times, 7 correlations and
-- causations, 8 payloads.
INSERT INTO events (position, stream, version, type, schema_version, id, recorded_at,
    correlation_id, causation_id, payload)
SELECT position, stream, version, type, 1, id, recorded_at, cause, cause, payload
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::uuid[], $6::timestamptz[],
    $7::uuid[], $8::bytea[]) AS e (position, stream, version, type, id, recorded_at, cause, payload)
