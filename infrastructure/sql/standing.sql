-- Who drives a saga, and until when at most; and its messages that were put aside: of the few rows that it has in the
-- outbox, or of the few that were put aside at all (saga_outbox_refused).
SELECT lease_owner, lease_expires_at, (
    SELECT json_agg(json_build_array(id, seq, topic, refused) ORDER BY id)::text
    FROM saga_outbox WHERE saga_outbox.saga_id = sagas.id AND refused IS NOT NULL
) FROM sagas WHERE id = %(id)s
