-- The id of the event at a position.
-- Binds: 1 position.
SELECT id FROM events WHERE position = ?1
