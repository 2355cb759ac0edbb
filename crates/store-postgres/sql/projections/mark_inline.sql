-- From now on the projection commits within every append.
-- Binds: $1 name.
-- Locks: the record. Index: primary key.
UPDATE annals.annals_projections SET inline = true WHERE name = $1
