-- Records what appends with an id brought about. `/*rows*/` stands for rows of binds.
-- OR FAIL as in insert_events.sql.
-- Binds: 4 a row, in the order of the columns. Locks: the caller's write transaction.
INSERT OR FAIL INTO appends (id, fingerprint, position, versions)
VALUES /*rows*/
