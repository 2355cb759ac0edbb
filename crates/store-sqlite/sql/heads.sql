-- The head of the log, and the versions of several streams, comma-separated in their order.
-- Binds: 1 JSON array of streams. Index: events (stream, version), one entry a stream.
SELECT
    (SELECT coalesce(max(position), 0) FROM events),
    (SELECT group_concat(version ORDER BY key) FROM (
        SELECT s.key, coalesce((SELECT max(version) FROM events WHERE stream = s.value), 0) AS version
        FROM json_each(?1) AS s
    ))
