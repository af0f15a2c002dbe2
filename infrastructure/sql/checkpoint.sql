-- What happened to a saga since the last checkpoint: one statement, one round trip, one commit.
-- The WHERE is the fence: a driver that no longer owns the saga, or that is behind, moves nothing and appends nothing.
-- `sync` is off while only safe reads follow; it is on before a call with an effect goes out and before an end is told.
WITH durability AS MATERIALIZED (
    SELECT set_config('synchronous_commit', %(sync)s::text, true)
), saga AS (
    UPDATE sagas SET
        status = %(status)s, state = %(state)s, error = %(error)s, debts = %(debts)s, seq = %(seq)s,
        lease_expires_at = %(lease_expires_at)s, wake_at = %(wake_at)s,
        updated_at = %(at)s, finished_at = %(finished_at)s
    FROM durability
    WHERE sagas.id = %(id)s AND sagas.seq = %(expected_seq)s AND sagas.lease_token = %(token)s
    RETURNING sagas.id
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
-- only with messages
), outbox AS (
    INSERT INTO saga_outbox (saga_id, seq, topic, payload, created_at)
    SELECT saga.id, message.seq, message.topic, message.payload, %(at)s::timestamptz
    FROM saga, json_to_recordset(%(messages)s::json) AS message (seq int, topic text, payload jsonb)
    ORDER BY message.seq
-- always
-- only with ids
), known AS (
    INSERT INTO saga_business_ids (value, saga_id, name)
    SELECT id.value, saga.id, id.name
    FROM saga, json_to_recordset(%(business_ids)s::json) AS id (value text, name text)
    ON CONFLICT DO NOTHING
-- always
)
SELECT count(*) FROM saga
