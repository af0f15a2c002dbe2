-- The saga that an idempotency key started.
SELECT id, request_hash FROM sagas WHERE tenant = %(tenant)s AND idempotency_key = %(idempotency_key)s
