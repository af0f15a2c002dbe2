"""A message that no broker would take is put aside, so that the others go out."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies: ClassVar[list[tuple[str, str]]] = [("saga", "0010_debts")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.AddField("outboxrow", "refused", models.TextField(null=True)),
        AddIndexConcurrently(
            "outboxrow",
            models.Index(fields=["id"], name="saga_outbox_refused", condition=models.Q(refused__isnull=False)),
        ),
    ]
