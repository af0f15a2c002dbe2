-- rate: count one more request of a caller in this minute, and say how many that makes; a row a caller, whatever comes.
-- A refused request counts no further than one beyond the limit. The row is locked for this statement only.
INSERT INTO saga_rates AS known (scope, caller, minute, requests)
VALUES (%(scope)s, %(caller)s, %(minute)s, 1)
ON CONFLICT (scope, caller) DO UPDATE SET
    minute = greatest(known.minute, excluded.minute),
    requests = CASE WHEN known.minute >= excluded.minute THEN least(known.requests, %(limit)s) + 1 ELSE 1 END
RETURNING requests
