-- Statements of scale_data.py, which splits this file at their names. %(...)s are parameters.

-- name: filled
CREATE TABLE IF NOT EXISTS scale_filled (first int PRIMARY KEY, what text NOT NULL)

-- name: sizes
SELECT relname, pg_size_pretty(pg_relation_size(oid)), reltuples::bigint FROM pg_class
WHERE relname ~ '^saga' AND relkind IN ('r', 'i') AND pg_relation_size(oid) > 1e6
ORDER BY relkind DESC, relname

-- name: models
CREATE TEMP TABLE scale_saga ON COMMIT DROP AS
SELECT * FROM json_to_recordset(%(sagas)s::json) AS saga (
    of text, kind int, share int, seq int, waits bool, rests bool, workflow text, version int, status saga_status,
    state text, error jsonb, data jsonb, ids jsonb, debts jsonb, lasts float8, deadline float8
);
CREATE TEMP TABLE scale_event ON COMMIT DROP AS
SELECT * FROM json_to_recordset(%(events)s::json) AS event (
    of text, kind int, after float8, due_after float8, seq int, type saga_event_type, status saga_status, state text,
    previous_state text, step text, item int, action saga_action, attempt int, outcome text, reason text, output jsonb,
    service text, http_method text, http_status int, duration float8, actor text
);
CREATE INDEX ON scale_event (of, kind, seq);
-- A thousand lots: as many of each kind as its share says.
CREATE TEMP TABLE scale_lot ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY kind) - 1 AS lot, kind
FROM scale_saga CROSS JOIN LATERAL generate_series(1, share) WHERE of = 'finished';
CREATE TEMP TABLE scale_numbered (number int, id uuid, at timestamptz, of text, kind int, rare int) ON COMMIT DROP;
ANALYZE scale_saga, scale_event, scale_lot

-- name: finished
-- The ids are UUIDv7 over the last 90 days, in the order of the numbers. 7919 shares no divisor with 1000, so of every
-- thousand in a row each lot has one. The first few are rare: orders of another workflow, of another tenant, and undone.
INSERT INTO scale_numbered
SELECT
    number, id, uuid_extract_timestamp(id), 'finished',
    CASE rare WHEN 0 THEN 0 WHEN 1 THEN 0 WHEN 2 THEN 2 ELSE kind END, rare
FROM (
    SELECT
        number, uuidv7(interval '90 days' * ((number - %(of)s) / %(of)s::float8)) AS id, kind,
        CASE WHEN number <= 3 * %(rare)s THEN (number - 1) / %(rare)s END AS rare
    FROM generate_series(%(first)s::int, %(last)s::int) AS number
    JOIN scale_lot ON lot = number::bigint * 7919 %% 1000
    ORDER BY number
) AS saga

-- name: live
-- Parked ones of the last two days, others of the last hour.
INSERT INTO scale_numbered
SELECT number, id, uuid_extract_timestamp(id), of, number %% kinds, NULL
FROM (
    SELECT
        number, of, (SELECT count(*) FROM scale_saga WHERE scale_saga.of = live.of) AS kinds,
        uuidv7(-span * (1 - number / many::float8)) AS id
    FROM (VALUES ('parked', %(parked)s, interval '2 days'), ('under_way', %(under_way)s, interval '1 hour'))
        AS live (of, many, span)
    CROSS JOIN LATERAL generate_series(1, many) AS number
) AS saga

-- name: sagas
-- Of those under way, a third is due, its driver gone; the others have a driver, or a time, for half a day.
INSERT INTO sagas (
    id, workflow, version, tenant, correlation_id, status, state, data, error, debts, seq, lease_token, lease_owner,
    lease_expires_at, wake_at, deadline_at, created_at, updated_at, finished_at
)
SELECT
    id, CASE WHEN rare IN (0, 2) THEN %(rare_workflow)s ELSE workflow END, version,
    CASE WHEN rare = 1 THEN %(rare_tenant)s WHEN number %% 3 = 0 THEN 'web' ELSE 'tills' END,
    CASE WHEN of <> 'finished' THEN of || '-' || number WHEN number <= %(of)s / 20 THEN %(shared)s
        ELSE workflow || '-' || number END,
    status, state, data, error, debts, seq, gen_random_uuid(), 'host:1',
    CASE WHEN of = 'under_way' AND NOT rests AND NOT waits
        THEN now() + CASE number %% 3 WHEN 0 THEN interval '-1 hour' ELSE interval '12 hours' END END,
    CASE WHEN of = 'under_way' AND waits AND NOT rests THEN now() + interval '12 hours' END,
    at + deadline * interval '1 s', at, at + lasts * interval '1 s',
    CASE WHEN of = 'finished' THEN at + lasts * interval '1 s' END
FROM scale_numbered JOIN scale_saga USING (of, kind)
ORDER BY id

-- name: events
-- A saga's own together, as they are when it is driven without a pause.
INSERT INTO saga_evenements (
    saga_id, seq, type, at, status, state, previous_state, step, item, action, attempt, outcome, reason, output, due_at,
    service, http_method, http_status, duration, actor
)
SELECT
    id, event.seq, event.type, at + event.after * interval '1 s', event.status, event.state, event.previous_state,
    event.step, event.item, event.action, event.attempt, event.outcome, event.reason, event.output,
    at + event.due_after * interval '1 s', event.service, event.http_method, event.http_status, event.duration,
    event.actor
FROM scale_numbered CROSS JOIN LATERAL (
    SELECT * FROM scale_event
    WHERE scale_event.of = scale_numbered.of AND scale_event.kind = scale_numbered.kind ORDER BY seq OFFSET 0
) AS event

-- name: ids
-- As many as a saga of its kind has. Each saga is known by others, though the copies have the same data.
INSERT INTO saga_business_ids (value, saga_id, name)
SELECT
    CASE WHEN of = 'finished' AND business.name = 'client_id' AND number <= %(of)s / 20 THEN %(customer)s
        ELSE concat_ws('-', of, business.name, number) END,
    id, business.name
FROM scale_numbered JOIN scale_saga USING (of, kind) CROSS JOIN LATERAL jsonb_object_keys(ids) AS business (name)

-- name: done
INSERT INTO scale_filled (first, what) VALUES (%(first)s, %(what)s)
