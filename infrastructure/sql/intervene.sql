-- What a person did to a saga that nobody drives: its events, and the saga due at once for whoever claims it.
-- The WHERE is the fence: a driver that took the saga meanwhile, or another person who was faster, leaves it as it is.
WITH saga AS (
    UPDATE sagas SET
        status = %(status)s, state = %(state)s, error = %(error)s, debts = %(debts)s, seq = %(seq)s,
        lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL, wake_at = %(wake_at)s,
        updated_at = %(at)s, finished_at = %(finished_at)s
    WHERE id = %(id)s AND seq = %(expected_seq)s AND (lease_expires_at IS NULL OR lease_expires_at <= %(now)s)
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
), outbox AS (
    INSERT INTO saga_outbox (saga_id, seq, topic, payload, created_at)
    SELECT saga.id, message.seq, message.topic, message.payload, %(at)s::timestamptz
    FROM saga, json_to_recordset(%(messages)s::json) AS message (seq int, topic text, payload jsonb)
    ORDER BY message.seq
), known AS (
    INSERT INTO saga_business_ids (value, saga_id, name)
    SELECT id.value, saga.id, id.name
    FROM saga, json_to_recordset(%(business_ids)s::json) AS id (value text, name text)
    ON CONFLICT DO NOTHING
), told AS MATERIALIZED (
    SELECT pg_notify('saga_due', '') FROM saga WHERE %(wake_at)s::timestamptz IS NOT NULL
)
SELECT (SELECT count(*) FROM saga), (SELECT count(*) FROM told)
