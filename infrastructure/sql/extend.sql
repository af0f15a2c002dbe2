-- Own the saga for longer: its workflow has a call that may outlast the lease with which it was claimed.
-- Only for whoever owns it still; losing this in a crash costs nothing, the lease then ends as it would have.
UPDATE sagas SET lease_expires_at = %(lease_expires_at)s
WHERE id = %(id)s AND seq = %(seq)s AND lease_token = %(token)s AND lease_expires_at IS NOT NULL
RETURNING id
