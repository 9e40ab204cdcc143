-- phase: expand
-- Whoever writes to the outbox tells the dispatcher of its process after the commit. A notification in the transaction took
-- one lock of the whole server until the commit was on the disk, so that all changes waited for each other's sync. A dispatcher
-- of another process, or of an earlier release, looks each second.

DROP TRIGGER outbox_wake ON outbox;
DROP FUNCTION caracal_outbox_wake();

-- A claim rewrites the row beside itself, in no index.
ALTER TABLE outbox SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- A list of entries not yet sorted in is read whole by each search for a subtree.
ALTER INDEX sessions_lineage SET (fastupdate = off);
ALTER INDEX delegations_lineage SET (fastupdate = off);
ALTER INDEX delegations_from_lineage SET (fastupdate = off);
