"""Bulk remedies: what a person asked to be done to a whole group of sagas, and how far it has come."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models


# Live sagas in trouble, each with the answer that it is in trouble for: parked ones, and those whose last attempt failed or
# was put off and has not been made good since. Only live sagas are read, and of each the end of its history. The
# fingerprint is the reason without what differs from saga to saga: ids, numbers, quoted texts.
TROUBLE = r"""
CREATE VIEW saga_trouble AS
SELECT *, md5(concat_ws('|', workflow, step, action, service, outcome, fingerprint)) AS kind
FROM (
    SELECT
        sagas.id AS saga_id, sagas.workflow, sagas.status = 'STUCK' AS parked, event.at,
        COALESCE(event.step, '') AS step, COALESCE(event.service, '') AS service,
        COALESCE(event.action::text, '') AS action, COALESCE(event.outcome, event.type::text) AS outcome,
        COALESCE(event.reason, '') AS reason,
        left(regexp_replace(
            COALESCE(event.reason, ''),
            '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|''[^'']*''|"[^"]*"|0x[0-9a-f]+|[0-9]+(\.[0-9]+)?',
            '#', 'g'
        ), 200) AS fingerprint
    FROM sagas CROSS JOIN LATERAL (
        SELECT type, at, step, service, action, outcome, reason, seq
        FROM saga_evenements
        WHERE saga_id = sagas.id AND type IN ('attempt_failed', 'attempt_postponed', 'saga_parked')
        ORDER BY type = 'saga_parked', seq DESC
        LIMIT 1
    ) AS event
    WHERE sagas.finished_at IS NULL AND (sagas.status = 'STUCK' OR NOT EXISTS (
        SELECT FROM saga_evenements AS later
        WHERE later.saga_id = sagas.id AND later.seq > event.seq AND later.type IN (
            'step_succeeded', 'undo_succeeded', 'inquiry_answered', 'step_skipped', 'step_failed',
            'compensation_requested'
        )
    ))
) AS trouble;
"""


class Migration(migrations.Migration):
    dependencies = [("saga", "0005_retention")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.RunSQL(TROUBLE, reverse_sql="DROP VIEW saga_trouble;"),
        migrations.CreateModel(
            name="BulkRow",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("group", models.TextField()),
                ("verb", models.TextField()),
                ("reason", models.TextField()),
                ("actor", models.TextField()),
                ("per_second", models.FloatField()),
                ("total", models.IntegerField()),
                ("done", models.IntegerField(default=0)),
                ("refused", models.IntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("cancelled", models.BooleanField(default=False)),
                ("lease_owner", models.TextField(null=True)),
                ("lease_expires_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "bulk remedy",
                "db_table": "saga_bulk",
                "indexes": [
                    models.Index(
                        condition=models.Q(("finished_at__isnull", True)), fields=["created_at"], name="saga_bulk_open"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BulkItemRow",
            fields=[
                ("pk", models.CompositePrimaryKey("bulk_id", "saga_id", blank=True, editable=False, primary_key=True, serialize=False)),
                ("saga_id", models.UUIDField()),
                ("at", models.DateTimeField(null=True)),
                ("refusal", models.TextField(null=True)),
                (
                    "bulk",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="items", to="saga.bulkrow"),
                ),
            ],
            options={"verbose_name": "saga of a bulk remedy", "db_table": "saga_bulk_sagas"},
        ),
    ]
