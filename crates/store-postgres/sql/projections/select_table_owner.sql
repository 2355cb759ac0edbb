-- Which projection fills this table.
-- Binds: $1 table.
-- Locks: none. Index: the unique one on read_model.
SELECT name FROM annals.annals_projections WHERE read_model = $1
