-- Appends a batch with one statement, so that the append lock is held while the server works and
-- never while it waits for a client. It writes what the caller decided on trust for an empty log,
-- moved to where the log ends: the unique indexes say when the trust was misplaced.
--
-- Answers the position before the first event, or NULL, having written nothing, when the batch
-- has to be decided under the lock: the log is another one than the caller knew, appends fold
-- inline projections, or what is read after the lock would not be what is there then.
--
-- Under READ COMMITTED each statement of a volatile function sees what was committed before it.
CREATE FUNCTION annals.append_at_once(
    known           bigint,        -- a position, and
    known_id        uuid,          -- the event there; NULL when there is none
    patience        text,          -- lock_timeout
    streams         text[],        -- the events' columns, in order
    stream_versions bigint[],
    types           text[],
    schema_versions bigint[],
    ids             uuid[],
    times           timestamptz[],
    correlations    uuid[],
    causations      uuid[],
    extras          text[],
    tag_lists       text[],
    payloads        bytea[],
    tag_names       text[],        -- tags, and their events' numbers in the batch, from 1
    tagged          bigint[],
    append_ids      uuid[],        -- appends with ids, and the numbers of their last events
    fingerprints    bytea[],
    ends            bigint[],
    reached         text[],        -- versions, each an array as text
    notify          boolean
) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    head bigint;
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN NULL;
    END IF;
    PERFORM pg_catalog.set_config('lock_timeout', patience, true);
    IF pg_catalog.current_setting('synchronous_commit') = 'off' THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(20817, 'annals.events'::regclass::oid::integer);
    IF known_id IS DISTINCT FROM (SELECT e.id FROM annals.events AS e WHERE e.position = known)
        OR EXISTS (SELECT FROM annals.annals_projections AS p WHERE p.inline)
    THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(max(e.position), 0) INTO head FROM annals.events AS e;
    WITH written AS (
        INSERT INTO annals.events (position, stream, version, type, schema_version, id,
            recorded_at, correlation_id, causation_id, metadata, tags, payload)
        SELECT head + r.n, r.stream, r.version, r.type, r.schema_version, r.id, r.recorded_at,
            r.correlation_id, r.causation_id, r.metadata, r.tags, r.payload
        FROM unnest(streams, stream_versions, types, schema_versions, ids, times, correlations,
            causations, extras, tag_lists, payloads) WITH ORDINALITY
            AS r (stream, version, type, schema_version, id, recorded_at, correlation_id,
                causation_id, metadata, tags, payload, n)
    ), entered AS (
        INSERT INTO annals.event_tags (tag, position)
        SELECT t.tag, head + t.n FROM unnest(tag_names, tagged) AS t (tag, n)
    )
    INSERT INTO annals.appends (id, fingerprint, position, versions)
    SELECT a.id, a.fingerprint, head + a.n, a.versions::bigint[]
    FROM unnest(append_ids, fingerprints, ends, reached) AS a (id, fingerprint, n, versions);
    IF notify THEN
        PERFORM pg_catalog.pg_notify('annals', '');
    END IF;
    RETURN head;
END
$$;
