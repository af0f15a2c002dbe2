-- What happened to these sagas beyond what was seen of each: one range of the primary key a saga.
SELECT
    saga.workflow, event.saga_id, event.seq, event.type, event.at, event.status, event.state, event.previous_state,
    event.step, event.item, event.action, event.attempt, event.outcome, event.reason, event.output::text, event.due_at,
    event.service, event.http_method, event.http_status, event.duration, event.actor
FROM unnest(%(ids)s::uuid[], %(seqs)s::int[]) AS seen (id, seq)
JOIN sagas AS saga ON saga.id = seen.id
CROSS JOIN LATERAL (
    SELECT * FROM saga_evenements
    WHERE saga_id = seen.id AND seq > seen.seq AND at >= %(since)s::timestamptz
    ORDER BY seq
    OFFSET 0
) AS event
ORDER BY event.at, event.saga_id, event.seq
