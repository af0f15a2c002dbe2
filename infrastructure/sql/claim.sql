-- Own a bounded batch of sagas that are due and that nobody holds: an expired lease, a wake-up time that has come.
-- The partial index saga_due_or_lapsed holds only what can become due, so this is O(batch) with millions of finished sagas;
-- `abandoned` tells a driver that vanished from one that gave its lease up in order.
-- SKIP LOCKED lets several workers claim side by side.
WITH due AS (
    SELECT id, lease_expires_at IS NOT NULL AS abandoned, COALESCE(lease_expires_at, wake_at) AS due_at FROM sagas
    WHERE status IN ('COMPENSATING', 'RUNNING', 'WAITING') AND COALESCE(lease_expires_at, wake_at) <= %(now)s
    ORDER BY COALESCE(lease_expires_at, wake_at)
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE sagas SET lease_token = %(token)s, lease_owner = %(owner)s, lease_expires_at = %(lease_expires_at)s, wake_at = NULL
FROM due
WHERE sagas.id = due.id
RETURNING sagas.id, due.abandoned, due.due_at
