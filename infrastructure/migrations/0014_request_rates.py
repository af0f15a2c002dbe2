"""How many requests each caller has made this minute (infrastructure/rates.py): not worth a wait for the disk."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("saga", "0013_rollup")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel(
            name="RateRow",
            fields=[
                ("pk", models.CompositePrimaryKey("scope", "caller", primary_key=True, serialize=False)),
                ("scope", models.TextField()),
                ("caller", models.TextField()),
                ("minute", models.DateTimeField()),
                ("requests", models.IntegerField()),
            ],
            options={"verbose_name": "request rate", "db_table": "saga_rates"},
        ),
        migrations.RunSQL("ALTER TABLE saga_rates SET UNLOGGED", migrations.RunSQL.noop),
    ]
