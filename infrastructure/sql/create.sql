-- A new saga with its first events, in one statement.
-- A taken id or idempotency key inserts nothing and returns 0: an equal request waits here for the first one's
-- commit, so of fifty at once one creates the saga and the others see it.
-- One without a driver wakes a worker.
-- `sync` is off while only safe reads follow: what a crash of the database then loses had no effect anywhere.
WITH durability AS MATERIALIZED (
    SELECT set_config('synchronous_commit', %(sync)s::text, true)
), saga AS (
    INSERT INTO sagas (
        id, workflow, version, tenant, correlation_id, idempotency_key, request_hash, status, state, data, error, seq,
        lease_token, lease_owner, lease_expires_at, wake_at, deadline_at, created_at, updated_at, finished_at
    )
    SELECT
        %(id)s::uuid, %(workflow)s::text, %(version)s::int, %(tenant)s::text, %(correlation_id)s::text,
        %(idempotency_key)s::text, %(request_hash)s::bytea, %(status)s::saga_status, %(state)s::text, %(data)s::jsonb,
        %(error)s::jsonb, %(seq)s::int, %(token)s::uuid, %(owner)s::text, %(lease_expires_at)s::timestamptz,
        %(wake_at)s::timestamptz, %(deadline_at)s::timestamptz, %(at)s::timestamptz, %(at)s::timestamptz,
        %(finished_at)s::timestamptz
    FROM durability
    ON CONFLICT DO NOTHING
    RETURNING id
), history AS (
    INSERT INTO saga_evenements (
        saga_id, seq, type, at, status, state, previous_state, step, item, action, attempt, outcome, reason, output,
        due_at, service, http_method, http_status, duration, actor
    )
    SELECT saga.id, event.*
    FROM saga, json_to_recordset(%(events)s::json) AS event (
        seq int, type saga_event_type, at timestamptz, status saga_status, state text, previous_state text, step text, item int,
        action saga_action, attempt int, outcome text, reason text, output jsonb, due_at timestamptz, service text,
        http_method text, http_status int, duration float8, actor text
    )
-- only with messages, or without a driver
), outbox AS (
    INSERT INTO saga_outbox (saga_id, seq, topic, payload, created_at)
    SELECT saga.id, message.seq, message.topic, message.payload, %(at)s::timestamptz
    FROM saga, json_to_recordset(%(messages)s::json) AS message (seq int, topic text, payload jsonb)
    ORDER BY message.seq
), told AS MATERIALIZED (
    SELECT pg_notify('saga_due', '') FROM saga WHERE %(token)s::uuid IS NULL AND %(wake_at)s::timestamptz IS NOT NULL
-- always
-- only with ids
), known AS (
    INSERT INTO saga_business_ids (value, saga_id, name)
    SELECT id.value, saga.id, id.name
    FROM saga, json_to_recordset(%(business_ids)s::json) AS id (value text, name text)
    ON CONFLICT DO NOTHING
-- always
)
SELECT (SELECT count(*) FROM saga)
-- only with messages, or without a driver
, (SELECT count(*) FROM told)
-- always
