-- Records what appends with an id brought about. `/*rows*/` stands for rows of binds.
-- Binds: 4 a row, in the order of the columns. Locks: the caller's write transaction.
INSERT INTO appends (id, fingerprint, position, versions)
VALUES /*rows*/
