-- Who drives a saga, and until when at most.
SELECT lease_owner, lease_expires_at FROM sagas WHERE id = %(id)s
