-- The saga that is there instead of the one that was not created: itself, when only the answer of its creation was lost,
-- or the earlier one of its idempotency key.
SELECT id, request_hash FROM sagas
WHERE id = %(id)s OR (tenant = %(tenant)s AND idempotency_key = %(idempotency_key)s)
ORDER BY id = %(id)s DESC
LIMIT 1
