"""What statistics are read from: how many sagas ended when and how, kept apart from the sagas.

Every change of `finished_at` leaves a row in `saga_rollup_due`, in the transaction that makes the change; a worker adds
them to `saga_rollup` and deletes them in one statement (sql/roll_up.sql). So an end counts exactly once it is
committed, however late that is and whatever the clocks of those who write say. A mark of how far the worker has come in
`finished_at` could not promise that: a process that stands still between reading the clock and its commit ends a saga
behind any mark.

Sagas that have ended before are entered here. While that runs no saga can be moved on: some five seconds for a million,
which drivers wait for. The worker then counts them, a thousand at a time.
"""

from typing import ClassVar

from django.db import migrations, models

import infrastructure.models

# The WHEN is all that a checkpoint pays that ends nothing. An insert is asked as well: what copies sagas counts too.
TRIGGERS = """
CREATE FUNCTION saga_enter_ending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.finished_at IS NOT NULL THEN
        INSERT INTO saga_rollup_due (saga_id, workflow, version, status, seq, created_at, finished_at, sagas)
        VALUES (OLD.id, OLD.workflow, OLD.version, OLD.status, OLD.seq, OLD.created_at, OLD.finished_at, -1);
    END IF;
    IF NEW.finished_at IS NOT NULL THEN
        INSERT INTO saga_rollup_due (saga_id, workflow, version, status, seq, created_at, finished_at, sagas)
        VALUES (NEW.id, NEW.workflow, NEW.version, NEW.status, NEW.seq, NEW.created_at, NEW.finished_at, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER saga_ending_counts AFTER UPDATE OF finished_at ON sagas
    FOR EACH ROW WHEN (OLD.finished_at IS DISTINCT FROM NEW.finished_at) EXECUTE FUNCTION saga_enter_ending();
CREATE TRIGGER saga_stored_ending_counts AFTER INSERT ON sagas
    FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION saga_enter_ending();
"""
ENDED_BEFORE = """
INSERT INTO saga_rollup_due (saga_id, workflow, version, status, seq, created_at, finished_at, sagas)
SELECT id, workflow, version, status, seq, created_at, finished_at, 1 FROM sagas WHERE finished_at IS NOT NULL;
"""
# A queue: what is deleted is soon reused, and what is inserted in one order is read in it.
STORAGE = """
ALTER TABLE saga_rollup_due SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE saga_rollup SET (fillfactor = 70);
"""
DROP = """
DROP TRIGGER saga_ending_counts ON sagas;
DROP TRIGGER saga_stored_ending_counts ON sagas;
DROP FUNCTION saga_enter_ending;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("saga", "0012_business_ids")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel(
            name="RollupRow",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "span", "since", "workflow", "version", "status", "duration",
                        blank=True, editable=False, primary_key=True, serialize=False,
                    ),
                ),
                ("span", models.IntegerField()),
                ("since", models.DateTimeField()),
                ("workflow", models.TextField()),
                ("version", models.IntegerField()),
                ("status", infrastructure.models.EnumField(enum="saga_status")),
                ("duration", models.IntegerField()),
                ("sagas", models.IntegerField()),
                ("retried", models.IntegerField()),
            ],
            options={"verbose_name": "rollup", "db_table": "saga_rollup"},
        ),
        migrations.CreateModel(
            name="RollupDueRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("saga_id", models.UUIDField()),
                ("workflow", models.TextField()),
                ("version", models.IntegerField()),
                ("status", infrastructure.models.EnumField(enum="saga_status")),
                ("seq", models.IntegerField()),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField()),
                ("sagas", models.IntegerField()),
            ],
            options={"verbose_name": "ending to roll up", "db_table": "saga_rollup_due"},
        ),
        migrations.RunSQL(STORAGE + TRIGGERS + ENDED_BEFORE, reverse_sql=DROP),
    ]
