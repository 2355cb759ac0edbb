-- Whether an event, or an append without events, is there after a commit whose answer was lost.
-- Binds: 1 event id or NULL, 2 append id or NULL. Index: events_id, the primary key.
SELECT EXISTS (SELECT FROM annals.events WHERE id = $1)
    OR EXISTS (SELECT FROM annals.appends WHERE id = $2)
