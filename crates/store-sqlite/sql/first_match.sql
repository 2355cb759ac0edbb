-- The first event that matches. `/*where*/` is filled in.
-- Index: event_tags for a query by tags, else events by position.
SELECT e.position FROM events AS e WHERE /*where*/ ORDER BY e.position LIMIT 1
