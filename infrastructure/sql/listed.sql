-- The ids of a page of sagas by workflow, status, state, tenant, correlation id or business id, newest first, whatever is rare.
-- Each part reads one index from the page's place on, in the order of ids, and no further than the page is long:
--   live      saga_live, which is as long as there are live sagas
--   finished  saga_finished_kind, once for each kind: a (workflow, version, status), of which there are as many as the
--             definitions say; a finished saga's kind says its state too. No index has the state itself: it changes
--             while a saga runs
--   of tenant saga_finished_tenant, in the same way
--   named     saga_correlation
--   known     the primary key of saga_business_ids
-- ANY of one, and the order of all columns of the index, so that no other index gives that order: for
-- `workflow = .. ORDER BY id` the planner may walk over all sagas by their primary key in the hope of finding some soon.
-- What is constantly false when the statement is planned (`NULL IS NOT NULL`, `false`) is never read.
WITH kind AS MATERIALIZED (
    SELECT workflow, version, status::saga_status
    FROM unnest(%(workflows)s::text[], %(versions)s::int[], %(statuses)s::text[]) AS kind (workflow, version, status)
), live AS (
    SELECT id FROM sagas
    WHERE %(live)s AND finished_at IS NULL AND id >= %(first)s AND id < %(beyond)s
        AND created_at >= %(created_after)s AND created_at < %(created_before)s
        AND (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
        AND (%(status)s::text IS NULL OR status = %(status)s::saga_status)
        AND (%(state)s::text IS NULL OR state = %(state)s)
        AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
    ORDER BY id DESC
    LIMIT %(limit)s
), finished AS (
    SELECT page.id FROM kind CROSS JOIN LATERAL (
        SELECT id FROM sagas
        WHERE %(tenant)s::text IS NULL AND finished_at IS NOT NULL
            AND workflow = ANY (ARRAY[kind.workflow]) AND version = ANY (ARRAY[kind.version])
            AND status = ANY (ARRAY[kind.status]) AND id >= %(first)s AND id < %(beyond)s
            AND created_at >= %(created_after)s AND created_at < %(created_before)s
            AND (%(state)s::text IS NULL OR state = %(state)s)
        ORDER BY workflow DESC, version DESC, status DESC, id DESC
        LIMIT %(limit)s
    ) AS page
), of_tenant AS (
    SELECT page.id FROM kind CROSS JOIN LATERAL (
        SELECT id FROM sagas
        WHERE %(tenant)s::text IS NOT NULL AND finished_at IS NOT NULL
            AND tenant = ANY (ARRAY[%(tenant)s]) AND workflow = ANY (ARRAY[kind.workflow])
            AND version = ANY (ARRAY[kind.version]) AND status = ANY (ARRAY[kind.status])
            AND id >= %(first)s AND id < %(beyond)s
            AND created_at >= %(created_after)s AND created_at < %(created_before)s
            AND (%(state)s::text IS NULL OR state = %(state)s)
        ORDER BY tenant DESC, workflow DESC, version DESC, status DESC, id DESC
        LIMIT %(limit)s
    ) AS page
), named AS (
    SELECT id FROM sagas
    WHERE %(correlation_id)s::text IS NOT NULL AND %(business_id)s::text IS NULL
        AND correlation_id = ANY (ARRAY[%(correlation_id)s]) AND id >= %(first)s AND id < %(beyond)s
        AND created_at >= %(created_after)s AND created_at < %(created_before)s
        AND (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
        AND (%(status)s::text IS NULL OR status = %(status)s::saga_status)
        AND (%(state)s::text IS NULL OR state = %(state)s)
        AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
        AND (%(active)s::bool IS NULL OR (finished_at IS NULL) = %(active)s::bool)
    ORDER BY correlation_id DESC, id DESC
    LIMIT %(limit)s
), known AS (
    SELECT DISTINCT ON (business.value, business.saga_id) sagas.id
    FROM saga_business_ids AS business JOIN sagas ON sagas.id = business.saga_id
    WHERE %(business_id)s::text IS NOT NULL
        AND business.value = ANY (ARRAY[%(business_id)s]) AND business.saga_id >= %(first)s
        AND business.saga_id < %(beyond)s
        AND created_at >= %(created_after)s AND created_at < %(created_before)s
        AND (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
        AND (%(status)s::text IS NULL OR status = %(status)s::saga_status)
        AND (%(state)s::text IS NULL OR state = %(state)s)
        AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
        AND (%(correlation_id)s::text IS NULL OR correlation_id = %(correlation_id)s)
        AND (%(active)s::bool IS NULL OR (finished_at IS NULL) = %(active)s::bool)
    ORDER BY business.value DESC, business.saga_id DESC
    LIMIT %(limit)s
)
SELECT id FROM live UNION ALL SELECT id FROM finished UNION ALL SELECT id FROM of_tenant UNION ALL SELECT id FROM named
UNION ALL SELECT id FROM known
ORDER BY id DESC
LIMIT %(limit)s
