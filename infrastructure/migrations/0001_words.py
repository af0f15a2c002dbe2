"""The words that the tables use, as types: an unknown one cannot be stored. domain/events.py has the same.

Types and not CHECK constraints with lists: PostgreSQL reads a CHECK anew for every statement, and lists of words made
that two fifths of what a checkpoint costs.
"""

from django.db import migrations

TYPES = """
CREATE TYPE saga_status AS ENUM (
    'RUNNING',       -- going forward; its driver moves it, or the next one when the lease expires
    'WAITING',       -- for a message, a signal or a timer
    'COMPENSATING',  -- undoing, last first; moved as RUNNING is
    'COMPLETED',     -- every step done
    'COMPENSATED',   -- everything that was done is undone
    'FAILED',        -- refused before anything had to be undone
    'STUCK',         -- parked with a reason; a person moves it
    'PAUSED'         -- held by a person, who moves it
);
CREATE TYPE saga_event_type AS ENUM (
    'saga_started', 'attempt_scheduled', 'attempt_failed', 'step_succeeded', 'driver_replaced', 'inquiry_answered',
    'deadline_passed', 'step_failed', 'compensation_started', 'undo_succeeded', 'saga_completed', 'saga_compensated',
    'saga_failed', 'saga_parked'
);
CREATE TYPE saga_action AS ENUM ('do', 'undo', 'inquire');
"""


class Migration(migrations.Migration):
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.RunSQL(TYPES, reverse_sql="DROP TYPE saga_action; DROP TYPE saga_event_type; DROP TYPE saga_status;")
    ]
