-- When the first saga that nobody holds becomes due: the first entry of the partial index saga_due_or_lapsed.
SELECT min(COALESCE(lease_expires_at, wake_at)) FROM sagas
WHERE status IN ('COMPENSATING', 'RUNNING', 'WAITING') AND COALESCE(lease_expires_at, wake_at) IS NOT NULL
