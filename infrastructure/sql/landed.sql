-- Whether this driver's own checkpoint is the last thing that was written: asked after a broken connection.
-- The events are compared too, so that a driver that is behind does not take another's for its own.
SELECT 1 FROM sagas
WHERE id = %(id)s AND seq = %(seq)s AND lease_token = %(token)s AND NOT EXISTS (
    SELECT seq, type, at, step, item, action, attempt, outcome, reason, output
    FROM json_to_recordset(%(events)s::json) AS event (
        seq int, type saga_event_type, at timestamptz, step text, item int, action saga_action, attempt int,
        outcome text, reason text, output jsonb
    )
    EXCEPT
    SELECT seq, type, at, step, item, action, attempt, outcome, reason, output
    FROM saga_evenements WHERE saga_id = %(id)s
)
