-- One payload, for events too large to come with their page; NULL when it is too large still.
-- Binds: 1 position, 2 how many bytes it may have. Index: the primary key of events.
SELECT CASE WHEN octet_length(payload) <= $2 THEN payload END
FROM annals.events
WHERE position = $1
