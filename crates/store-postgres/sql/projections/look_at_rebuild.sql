-- Whether a rebuild is still where its owner left it, without keeping it there.
-- Binds: $1 projection, $2 epoch, $3 position.
-- Locks: none. Index: primary key.
SELECT EXISTS (SELECT FROM annals.annals_rebuilds
                WHERE projection = $1 AND epoch = $2 AND position = $3)
