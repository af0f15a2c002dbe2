-- One text that is another one after every change that a list, a count or a remedy can show, and after no other: not after
-- a heartbeat, nor when a lease is taken. It reads what is live, a few rows of the rollup, and the ends of two indexes.
-- Live sagas: each by its id and how many events it has. What starts and ends between two looks is known by the newest
-- id, or, when an older one is committed late, by the ending that is to be rolled up or has been.
SELECT concat_ws(
    ' ',
    (SELECT concat(count(*), ':', sum(hashtextextended(id::text, seq))) FROM sagas WHERE finished_at IS NULL),
    (SELECT id FROM sagas ORDER BY id DESC LIMIT 1),
    'due', (SELECT id FROM saga_rollup_due ORDER BY id DESC LIMIT 1),
    (
        SELECT sum(sagas * hashtext(concat_ws(' ', workflow, version, status, duration))::bigint)
        FROM saga_rollup WHERE span = 0
    ),
    'bulk', (SELECT id FROM saga_bulk ORDER BY id DESC LIMIT 1),
    (SELECT string_agg(concat_ws(',', id, total, done, refused), ' ' ORDER BY id) FROM saga_bulk WHERE finished_at IS NULL),
    'definitions', (SELECT count(*) FROM saga_definitions)
)
