-- One payload, for events too large to come with their page.
-- Binds: 1 position.
SELECT payload FROM annals.events WHERE position = $1
