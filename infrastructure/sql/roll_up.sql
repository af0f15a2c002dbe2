-- Adds the oldest endings that are due to the rollup, at every span of time, and takes them off the list.
-- One statement, so it happens whole or not at all: whoever dies before its commit has done nothing and the endings are
-- still due; whoever dies after it has nothing left to do. What commits later is on the list later, and is not missed.
-- The lock lets one process do so at a time; it goes with the transaction. Nothing is written while nothing is due.
-- A saga that turned back is taken off again where its end was counted: `seq` says which retries were before that end,
-- since history is append-only. Spans that are past keeping are passed over: 0 is ever, and its `since` the epoch.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(%(lock)s) AS mine
), due AS (
    DELETE FROM saga_rollup_due
    WHERE (SELECT mine FROM turn) AND id = ANY (ARRAY(SELECT id FROM saga_rollup_due ORDER BY id LIMIT %(limit)s))
    RETURNING *
), ended AS (
    SELECT
        workflow, version, status, created_at, finished_at, sagas,
        width_bucket(extract(epoch FROM finished_at - created_at)::float8, %(bounds)s::float8[]) AS duration,
        EXISTS (
            SELECT FROM saga_evenements AS event
            WHERE event.saga_id = due.saga_id AND event.seq <= due.seq
                AND event.type = 'attempt_failed' AND event.due_at IS NOT NULL
        )::int AS retried
    FROM due
), counted AS (
    SELECT workflow, version, status, finished_at AS at, duration, sagas, sagas * retried AS retried FROM ended
    UNION ALL
    SELECT workflow, version, 'RUNNING', created_at, 0, sagas, 0 FROM ended
), added AS (
    INSERT INTO saga_rollup AS kept (span, since, workflow, version, status, duration, sagas, retried)
    SELECT
        kind.span,
        CASE kind.span WHEN 0 THEN 'epoch' ELSE date_bin(kind.span * interval '1 s', at, 'epoch') END,
        workflow, version, status, duration, sum(sagas), sum(retried)
    FROM counted JOIN unnest(%(spans)s::int[], %(since)s::timestamptz[]) AS kind (span, since) ON at >= kind.since
    GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (span, since, workflow, version, status, duration)
    DO UPDATE SET sagas = kept.sagas + excluded.sagas, retried = kept.retried + excluded.retried
)
SELECT count(*) FROM due
