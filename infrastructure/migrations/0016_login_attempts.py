"""Attempts to log in that may have been with a wrong password, for some minutes."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("saga", "0015_bulk_cancelled_by")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel(
            name="LoginAttemptRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.TextField(db_index=True)),
                ("at", models.DateTimeField(db_index=True)),
            ],
            options={"verbose_name": "login attempt", "db_table": "saga_login_attempts"},
        ),
    ]
