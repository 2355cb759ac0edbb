-- Running a projection is leased: `owner` is now who holds the lease or held it last.

ALTER TABLE annals_projections
  ADD COLUMN lease_until REAL NOT NULL DEFAULT 0;      -- seconds since 1970, by this database's clock
