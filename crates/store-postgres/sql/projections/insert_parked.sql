-- Puts events aside.
-- Binds: $1 projection, $2 target, $3 positions, $4 streams, $5 why, $6 since when; the last four
--        are arrays of one length.
-- Locks: the new rows. Index: primary key.
INSERT INTO annals.annals_parked (projection, target, position, stream, message, since)
SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
ON CONFLICT (projection, target, position) DO UPDATE SET message = excluded.message
