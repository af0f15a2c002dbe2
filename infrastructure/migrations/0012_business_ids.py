"""By which ids people of the business know a saga (domain/business_ids.py)."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("saga", "0011_outbox")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel(
            name="BusinessIdRow",
            fields=[
                ("pk", models.CompositePrimaryKey("value", "saga_id", "name", primary_key=True, serialize=False)),
                ("value", models.TextField()),
                ("saga_id", models.UUIDField()),
                ("name", models.TextField()),
            ],
            options={
                "verbose_name": "business id",
                "db_table": "saga_business_ids",
                "indexes": [models.Index(fields=["saga_id"], name="saga_business_ids_of")],
            },
        ),
    ]
