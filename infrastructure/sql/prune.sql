-- Delete a batch of finished sagas, those that finished first, with their history, their published messages and
-- their business ids.
-- It is one short transaction. SKIP LOCKED lets several prune side by side: each takes what the others have not.
-- The index saga_finished gives the batch in order, and `since` keeps the scan from walking over what the batches before
-- have deleted: their entries stay in the index until vacuum, or the oldest open transaction, lets them go.
-- Arrays and not joins, so that no statistics can lead the planner to read a whole table.
WITH batch AS MATERIALIZED (
    SELECT id, finished_at FROM sagas
    WHERE workflow = %(workflow)s AND finished_at >= %(since)s AND finished_at < %(before)s
        -- What still has to be told to others has not ended for them.
        AND NOT EXISTS (SELECT FROM saga_outbox WHERE saga_id = sagas.id AND published_at IS NULL)
    ORDER BY finished_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), messages AS (
    DELETE FROM saga_outbox WHERE saga_id = ANY (ARRAY(SELECT id FROM batch)) RETURNING 1
), known AS (
    DELETE FROM saga_business_ids WHERE saga_id = ANY (ARRAY(SELECT id FROM batch))
), history AS (
    DELETE FROM saga_evenements WHERE saga_id = ANY (ARRAY(SELECT id FROM batch)) RETURNING 1
), deleted AS (
    DELETE FROM sagas WHERE id = ANY (ARRAY(SELECT id FROM batch)) RETURNING 1
)
SELECT
    (SELECT count(*) FROM deleted), (SELECT count(*) FROM history), (SELECT count(*) FROM messages),
    (SELECT max(finished_at) FROM batch)
