"""What a parked saga owes, so that it can be summed without reading histories.

Sagas that were parked before know it from the next time that they are parked.
"""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("saga", "0009_definitions")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.AddField("sagarow", "debts", models.JSONField(null=True)),
    ]
