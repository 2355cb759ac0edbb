-- The head of the log, the versions of several streams, comma-separated in their order, and how
-- many of several append ids are known.
-- Binds: 1 JSON array of streams, 2 JSON array of append ids as hex text.
-- Index: events (stream, version), one entry a stream; the primary key of appends.
SELECT
    (SELECT coalesce(max(position), 0) FROM events),
    (SELECT group_concat(version ORDER BY key) FROM (
        SELECT s.key, coalesce((SELECT max(version) FROM events WHERE stream = s.value), 0) AS version
        FROM json_each(?1) AS s
    )),
    (SELECT count(*) FROM json_each(?2) AS wanted JOIN appends AS a ON a.id = unhex(wanted.value))
