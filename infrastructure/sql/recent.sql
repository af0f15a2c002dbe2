-- How the last finished sagas of each workflow ended. Reads saga_finished from its end, as far as asked and no further.
SELECT workflow.name, saga.status, count(*)
FROM unnest(%(workflows)s::text[]) AS workflow (name) CROSS JOIN LATERAL (
    SELECT status FROM sagas
    WHERE workflow = ANY (ARRAY[workflow.name]) AND finished_at IS NOT NULL
    ORDER BY workflow DESC, finished_at DESC
    LIMIT %(sagas)s
) AS saga
GROUP BY 1, 2
