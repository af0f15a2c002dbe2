"""The orchestrator with a deliberate bug, to prove that the invariants would tell: `CHAOS_MUTATION` names the bug.

gunicorn serves `tests.chaos.mutant:application`; `python -m tests.chaos.mutant saga_worker` is the worker. The product
itself knows nothing of this: it is changed from here, before it serves.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import token_hex

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
django.setup()

from application.messages import BATCH, Relay  # noqa: E402 - models can be read only now
from domain.outcomes import Unavailable, Unknown  # noqa: E402
from infrastructure import http_participants, saga_store  # noqa: E402
from infrastructure.models import OutboxRow  # noqa: E402


def no_fencing() -> None:
    """A driver writes whether or not it still owns the saga."""
    statements = saga_store._STATEMENTS

    def loosened(text: str) -> str:
        fence, _, rest = text.partition("sagas.seq = ")
        seq, _, rest = rest.partition(" AND sagas.lease_token = ")
        token, _, rest = rest.partition("\n")
        unique = rest.replace("actor text\n    )\n", "actor text\n    )\n    ON CONFLICT DO NOTHING\n")
        assert fence and seq and token and unique != rest, "the checkpoint looks different now: change this too"
        return f"{fence}({seq}::int > 0 OR {token}::uuid IS NOT NULL)\n{unique}"

    for name in [name for name in statements if name.startswith("checkpoint")]:
        whole = statements[name]
        statements[name] = replace(whole, text=loosened(whole.text), prepare=loosened(whole.prepare))


def unknown_not_undone() -> None:
    """No answer is taken for "certainly not done"."""
    exchange = http_participants.HttpParticipants._exchange

    def certain(self, prepared, timeout):
        status, outcome = exchange(self, prepared, timeout)
        return status, Unavailable(outcome.reason) if isinstance(outcome, Unknown) else outcome

    http_participants.HttpParticipants._exchange = certain


def new_key_per_attempt() -> None:
    """Each attempt of a call has an idempotency key of its own."""
    prepare = http_participants.HttpParticipants._prepare

    def renamed(self, base, task):
        head, _, action = task.key.rpartition(":")
        return prepare(self, base, replace(task, key=f"{head}:{token_hex(4)}:{action}"))

    http_participants.HttpParticipants._prepare = renamed


def forgotten_before_sent() -> None:
    """What the outbox has is deleted before the broker has it; the process may die in between."""

    def send_some(self: Relay) -> int:
        waiting = self.outbox.waiting(BATCH) if self.outbox.lead() else []
        if waiting:
            OutboxRow.objects.filter(id__in=[each.number for each in waiting]).delete()
            self.outbox.sent(waiting)  # where the relay is killed
            self.publisher.publish([each.message for each in waiting])
        return len(waiting)

    Relay.send_some = send_some


MUTATIONS: Mapping[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (no_fencing, unknown_not_undone, new_key_per_attempt, forgotten_before_sent)
}

MUTATIONS[os.environ["CHAOS_MUTATION"]]()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[1:]])
else:
    from saga_service.wsgi import application

    __all__ = ["application"]
