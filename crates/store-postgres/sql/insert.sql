-- Writes events, their tags and what the appends with ids brought about, and sends at most one
-- notification, which arrives with the commit.
-- Binds: 1-12 the events' columns, 13 tags and 14 their positions, 15-18 the appends' columns with
-- versions as text, 19 whether to notify. Locks: the append lock is held.
WITH written AS (
    INSERT INTO annals.events (position, stream, version, type, schema_version, id, recorded_at,
        correlation_id, causation_id, metadata, tags, payload)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[],
        $6::uuid[], $7::timestamptz[], $8::uuid[], $9::uuid[], $10::text[], $11::text[],
        $12::bytea[])
), tagged AS (
    INSERT INTO annals.event_tags (tag, position)
    SELECT * FROM unnest($13::text[], $14::bigint[])
), recorded AS (
    INSERT INTO annals.appends (id, fingerprint, position, versions)
    SELECT a.id, a.fingerprint, a.position, a.versions::bigint[]
    FROM unnest($15::uuid[], $16::bytea[], $17::bigint[], $18::text[])
        AS a (id, fingerprint, position, versions)
)
SELECT pg_catalog.pg_notify('annals', '') WHERE $19
