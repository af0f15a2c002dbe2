-- Whether this driver's own checkpoint is the last thing that was written: asked after a broken connection.
SELECT 1 FROM sagas WHERE id = %(id)s AND seq = %(seq)s AND lease_token = %(token)s
