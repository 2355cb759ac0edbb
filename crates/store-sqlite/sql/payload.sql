-- One payload, for events too large to be packed.
-- Binds: 1 position.
SELECT payload FROM events WHERE position = ?1
