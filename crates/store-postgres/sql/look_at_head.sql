-- The head of the log, and the id of the event at a position that was known before, by which a
-- log is recognised that was swapped for another one. `/*known*/` is filled in with a number, as
-- this runs together with the statements before it, which leaves no place for binds.
-- Index: the primary key, two entries.
SELECT (SELECT coalesce(max(position), 0) FROM annals.events),
    (SELECT id FROM annals.events WHERE position = /*known*/)
