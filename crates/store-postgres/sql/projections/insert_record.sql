-- A new projection, running, before the first event; no row when somebody else was faster.
-- Binds: $1 name, $2 inline, $3 its table or NULL, $4 fingerprint, $5 now.
-- Locks: the new row. Index: primary key, and the unique one on read_model.
INSERT INTO annals.annals_projections (name, state, inline, read_model, fingerprint, updated_at)
VALUES ($1, 'running', $2, $3, $4, $5)
ON CONFLICT (name) DO NOTHING
