"""The words for what a person does to a saga, and for a call that was put off."""

from django.db import migrations

WORDS = """
ALTER TYPE saga_event_type ADD VALUE 'attempt_postponed';
ALTER TYPE saga_event_type ADD VALUE 'retry_requested';
ALTER TYPE saga_event_type ADD VALUE 'step_skipped';
ALTER TYPE saga_event_type ADD VALUE 'compensation_requested';
ALTER TYPE saga_event_type ADD VALUE 'saga_paused';
ALTER TYPE saga_event_type ADD VALUE 'saga_resumed';
ALTER TYPE saga_event_type ADD VALUE 'saga_resolved';
"""


class Migration(migrations.Migration):
    dependencies = [("saga", "0003_rules_and_views")]
    # PostgreSQL cannot take a word off a type; one that nothing uses does no harm.
    operations = [migrations.RunSQL(WORDS, reverse_sql=migrations.RunSQL.noop)]
