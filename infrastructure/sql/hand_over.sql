-- Give the lease up: a worker claims the saga when its next call is due. It waits for the disk, because the client
-- is told that the saga goes on, and whatever was committed before it becomes durable with it.
-- The notice wakes a worker that waits for nothing else; one that is lost costs the time of a poll.
WITH saga AS (
    UPDATE sagas SET lease_expires_at = NULL, wake_at = %(wake_at)s
    WHERE id = %(id)s AND seq = %(seq)s AND lease_token = %(token)s AND lease_expires_at IS NOT NULL
    RETURNING id
)
SELECT id, pg_notify('saga_due', '') FROM saga
