-- Of each of these sagas a text that is another one whenever it has moved or changed its driver or its lease.
SELECT id, concat_ws(' ', seq, lease_expires_at, lease_owner) FROM sagas WHERE id = ANY (%(ids)s)
