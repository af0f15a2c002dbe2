-- Finished sagas in the order of their ends, from a time on: of each workflow as many as are asked for, read from the
-- index saga_finished (workflow, finished_at), of which the first are kept.
SELECT saga.id, saga.seq, saga.finished_at
FROM (
    SELECT DISTINCT name FROM saga_definitions WHERE %(workflow)s::text IS NULL OR name = %(workflow)s
) AS workflow CROSS JOIN LATERAL (
    SELECT id, seq, finished_at FROM sagas
    WHERE workflow = workflow.name AND finished_at IS NOT NULL AND finished_at >= %(since)s::timestamptz
    ORDER BY workflow, finished_at
    LIMIT %(limit)s::int
) AS saga
ORDER BY saga.finished_at
LIMIT %(limit)s::int
