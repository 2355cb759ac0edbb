-- Writes events. `/*rows*/` stands for one or several rows of binds.
-- OR FAIL, as the whole transaction is undone after an error: so SQLite need not keep a journal from
-- which to undo the statement alone, unless a function is called, such as by a CHECK.
-- Binds: 12 a row, in the order of the columns. Locks: the caller's write transaction.
INSERT OR FAIL INTO events (position, stream, version, type, schema_version, id, recorded_at,
    correlation_id, causation_id, metadata, tags, payload)
VALUES /*rows*/
