"""Messages in and out: the outbox emptied in order, and what arrives given to the saga that waits for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from application.ports import Message, Outbox, Publisher, Verdict
from application.saga_orchestrator import SagaOrchestrator
from domain.exceptions import LeaseLost, NotAllowed, SagaNotFound

BATCH = 500
MEETINGS = 5
"""How often somebody else may be faster before the message is to come again."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Sends what checkpoints have put into the outbox: at least once, and each saga's in order."""

    outbox: Outbox
    publisher: Publisher

    def send_some(self) -> int:
        """Send the oldest messages; how many. Raises BrokerUnavailable, with all of them still in the outbox."""
        if not self.outbox.lead():
            return 0
        waiting = self.outbox.waiting(BATCH)
        if waiting:
            # Crash between the two: they are sent again, and whoever reads them drops what it has seen, by its key.
            self.publisher.publish([each.message for each in waiting])
            self.outbox.sent(waiting)
        return len(waiting)


@dataclass(frozen=True, slots=True)
class Inbox:
    """Gives messages to sagas. `count(topic, result)` is told what became of each: bounded words."""

    engine: SagaOrchestrator
    count: Callable[[str, str], None]

    def handle(self, message: Message) -> Verdict:
        """Take one message in; what came before, comes late or concerns nobody changes nothing."""
        result, verdict = self._taken(message)
        self.count(message.topic, result)
        return verdict

    def _taken(self, message: Message) -> tuple[str, Verdict]:
        try:
            body = json.loads(message.body)
            saga_id = UUID(body["saga_id"])
            assert isinstance(body["type"], str)
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
            return "malformed", Verdict.DEAD
        try:
            taken = signal(self.engine, saga_id, body, message.topic)
        except SagaNotFound:
            return "unknown_saga", Verdict.DONE
        except (NotAllowed, LeaseLost):
            return "not_now", Verdict.LATER
        return ("taken" if taken else "not_awaited"), Verdict.DONE


def signal(engine: SagaOrchestrator, saga_id: UUID, body: Mapping[str, Any], topic: str | None = None) -> bool:
    """Give a message to a saga; False when it does not wait for it: a duplicate, or too late.

    Raises SagaNotFound; NotAllowed while it is paused; LeaseLost when others were faster time and again.
    """
    for _ in range(MEETINGS):
        now = engine.clock.now()
        saga = engine.store.look(saga_id).saga
        events = saga.signal(body, now, topic)
        if not events:
            return False
        try:
            # Crash before this write: the message is not acknowledged, and comes again. Crash after it: it comes
            # again too, and the saga no longer waits for it; the saga itself is due for whoever claims it.
            engine.store.intervene(saga, events, now)
        except LeaseLost:
            continue
        engine.observe(saga, events)
        return True
    raise LeaseLost(f"Saga {saga_id} moved while it was given a message.")
