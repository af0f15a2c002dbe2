"""Sagas that wait for messages: they become due when their time is over, as others do."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

WORDS = """
ALTER TYPE saga_event_type ADD VALUE IF NOT EXISTS 'message_published';
ALTER TYPE saga_action ADD VALUE IF NOT EXISTS 'await';
"""
WAITING = """
ALTER TABLE sagas DROP CONSTRAINT saga_moves_if_and_only_if_somebody_moves_it;
ALTER TABLE sagas ADD CONSTRAINT saga_moves_if_and_only_if_somebody_moves_it CHECK (
    (lease_expires_at IS NOT NULL OR wake_at IS NOT NULL) = (status IN ('RUNNING', 'WAITING', 'COMPENSATING'))
);
"""
BEFORE = """
ALTER TABLE sagas DROP CONSTRAINT saga_moves_if_and_only_if_somebody_moves_it;
ALTER TABLE sagas ADD CONSTRAINT saga_moves_if_and_only_if_somebody_moves_it CHECK (
    status = 'WAITING'
    OR (lease_expires_at IS NOT NULL OR wake_at IS NOT NULL) = (status IN ('RUNNING', 'COMPENSATING'))
);
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("saga", "0007_order_lines_view")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.RunSQL(WORDS, reverse_sql=migrations.RunSQL.noop),
        migrations.RunSQL(WAITING, reverse_sql=BEFORE),
        AddIndexConcurrently(
            "sagarow",
            models.Index(
                Coalesce(F("lease_expires_at"), F("wake_at")),
                name="saga_due_or_lapsed",
                condition=Q(status__in=["COMPENSATING", "RUNNING", "WAITING"]),
            ),
        ),
        RemoveIndexConcurrently("sagarow", "saga_due"),
    ]
