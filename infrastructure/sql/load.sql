-- Sagas with their whole history, to be folded: one row an event, a saga's events in order.
-- The input comes with the first event alone: with every event of a long history it would be most of what is read.
SELECT
    sagas.id, sagas.workflow, sagas.version, sagas.tenant, sagas.correlation_id,
    CASE event.seq WHEN 1 THEN sagas.data END, sagas.deadline_at,
    sagas.created_at,
    event.seq, event.type, event.at, event.status, event.state, event.previous_state, event.step, event.item,
    event.action, event.attempt, event.outcome, event.reason, event.output, event.due_at, event.service,
    event.http_method, event.http_status, event.duration, event.actor
FROM sagas JOIN saga_evenements AS event ON event.saga_id = sagas.id
WHERE sagas.id = ANY(%(ids)s::uuid[])
ORDER BY sagas.id, event.seq
