-- Moves an inline projection's checkpoint within an append.
-- Binds: $1 name, $2 new position, $3 event id, $4 when the event was recorded.
-- Locks: the record, which the transaction has locked already. Index: primary key.
UPDATE annals.annals_projections SET position = $2, event_id = $3, updated_at = $4 WHERE name = $1
