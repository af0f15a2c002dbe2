-- How the newest finished sagas of one version went, as a whole and step by step.
-- The newest of each ending are read from saga_finished_kind, their histories by primary key. A saga's `seq` is how many
-- events it has: what is read is bounded however long histories are, but for that of the newest saga itself.
WITH newest AS (
    SELECT saga.* FROM unnest(%(statuses)s::saga_status[]) AS kind (status) CROSS JOIN LATERAL (
        SELECT id, status, seq, created_at, finished_at FROM sagas
        WHERE finished_at IS NOT NULL AND workflow = ANY (ARRAY[%(workflow)s]) AND version = ANY (ARRAY[%(version)s])
            AND status = ANY (ARRAY[kind.status])
        ORDER BY workflow DESC, version DESC, status DESC, id DESC
        LIMIT %(sagas)s
    ) AS saga
    ORDER BY id DESC
    LIMIT %(sagas)s
), sample AS MATERIALIZED (
    SELECT * FROM (SELECT *, sum(seq) OVER (ORDER BY id DESC) AS until FROM newest) AS counted
    WHERE until - seq < %(events)s
), step AS (
    SELECT
        event.saga_id, event.step,
        min(event.at) FILTER (
            WHERE event.type IN ('attempt_scheduled', 'message_published') AND event.action IS DISTINCT FROM 'undo'
        ) AS begun_at,
        max(event.at) FILTER (WHERE event.type IN ('step_succeeded', 'step_failed')) AS ended_at,
        bool_or(event.type = 'step_failed') AS failed, bool_or(event.type = 'undo_succeeded') AS undone,
        bool_or(event.type = 'attempt_failed' AND event.due_at IS NOT NULL) AS retried
    FROM sample JOIN saga_evenements AS event ON event.saga_id = sample.id
    WHERE event.step IS NOT NULL
    GROUP BY 1, 2
), whole AS (
    SELECT
        id, extract(epoch FROM finished_at - created_at)::float8 AS seconds, status,
        EXISTS (SELECT FROM step WHERE step.saga_id = sample.id AND step.retried) AS retried
    FROM sample
)
SELECT
    NULL, count(*), count(*) FILTER (WHERE status = 'COMPLETED'), count(*) FILTER (WHERE status = 'FAILED'),
    count(*) FILTER (WHERE status = 'COMPENSATED'), count(*) FILTER (WHERE retried),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds), max(seconds)
FROM whole
UNION ALL
SELECT
    step, count(*), count(*) FILTER (WHERE NOT failed AND ended_at IS NOT NULL), count(*) FILTER (WHERE failed),
    count(*) FILTER (WHERE undone), count(*) FILTER (WHERE retried),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - begun_at)::float8),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - begun_at)::float8),
    max(extract(epoch FROM ended_at - begun_at)::float8)
FROM step
WHERE begun_at IS NOT NULL
GROUP BY step
