"""Who stopped a bulk remedy; its end says when."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("saga", "0014_request_rates")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.AddField("BulkRow", "cancelled_by", models.TextField(null=True)),
    ]
