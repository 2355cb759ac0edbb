-- Moves an inline projection's checkpoint within an append.
-- Binds: ?1 name, ?2 new position, ?3 event id, ?4 when the event was recorded.
-- Locks: the writer's transaction, which read the old position. Index: primary key.
UPDATE annals_projections SET position = ?2, event_id = ?3, updated_at = ?4 WHERE name = ?1
