-- Wait until the disk has whatever was committed before, also by commits that did not wait for it: the log is written in
-- order, so one commit that waits brings all before it. A commit that wrote nothing would not wait; a message in the log
-- (which nobody reads) is the least that can be written: no row, nothing to vacuum, one round trip.
WITH durability AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'on', true) AS setting
)
SELECT pg_logical_emit_message(true, 'saga', '')::text FROM durability WHERE setting = 'on'
