-- Give the lease up: a worker claims the saga when its next call is due. It waits for the disk, because the client
-- is told that the saga goes on, and whatever was committed before it becomes durable with it.
UPDATE sagas SET lease_expires_at = NULL, wake_at = %(wake_at)s
WHERE id = %(id)s AND seq = %(seq)s AND lease_token = %(token)s AND lease_expires_at IS NOT NULL
RETURNING id
