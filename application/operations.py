"""What a person does to a saga: only to one that nobody drives, stored as an event, and shown before it is done."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from application.ports import Seen
from application.saga_orchestrator import SagaOrchestrator
from domain.calls import Task
from domain.definition import Publish, Request, Step
from domain.entities import Saga
from domain.events import SagaEvent
from domain.exceptions import LeaseLost, NotAllowed, SagaDriven
from domain.operations import By

MEETINGS = 5
"""How often somebody else may be faster before the person is told."""

Act = Callable[[Saga, By, datetime], list[SagaEvent]]
"""A verb of `Saga`, with what it needs beside who, why and when."""


WHOLE: dict[str, Act] = {
    "retry": Saga.retry,
    "compensate": Saga.compensate,
    "pause": Saga.pause,
    "resume": Saga.resume,
    "resolve": partial(Saga.resolve, end="compensated"),
}
"""The verbs that are about the whole saga."""


def refusals(seen: Seen, now: datetime) -> dict[str, str | None]:
    """Each verb of `WHOLE`, and why it cannot be done to the saga now; None when it can, "" when it is done already."""
    if seen.driven_until and seen.driven_until > now and not seen.saga.resting:
        driven = str(SagaDriven(seen.owner or "unknown", seen.driven_until))
        return dict.fromkeys(WHOLE, driven)
    found, trial = {}, seen.saga.copy()
    for verb, act in WHOLE.items():
        found[verb] = _refusal(trial, act, now)
        if trial.seq != seen.saga.seq:  # it was done, and the next is asked of the saga as it stands
            trial = seen.saga.copy()
    return found


def _refusal(saga: Saga, act: Act, now: datetime) -> str | None:
    try:
        return None if act(saga, By(actor="", reason="asked"), now) else ""
    except NotAllowed as error:
        return str(error)


@dataclass(frozen=True, slots=True)
class Preview:
    """What an act would do: the saga as it would stand, and the calls that would follow if each succeeded."""

    saga: Saga
    calls: list[Task | tuple[Step, Request | Publish]]


@dataclass(frozen=True, slots=True)
class Operations:
    """The operator's verbs over an engine."""

    engine: SagaOrchestrator

    def act(self, saga_id: UUID, act: Act, by: By) -> Saga:
        """Do it, and return the saga; unchanged when what is asked for stands already.

        Raises SagaNotFound, NotAllowed (the saga's status does not allow it) and SagaDriven (a driver owns it).
        """
        for _ in range(MEETINGS):
            now = self.engine.clock.now()
            saga, events = self._decided(saga_id, act, by, now)
            if not events:
                return self.engine.store.load(saga_id)  # as it is stored, without what was only thought through
            try:
                # Crash before this write: nothing happened, and the person is not told that it did. Crash after it:
                # the saga is due, whoever claims it goes on from there; asked again, the act finds its effect there.
                self.engine.store.intervene(saga, events, now)
            except LeaseLost:
                continue
            self.engine.observe(saga, events)
            return saga
        raise LeaseLost(f"Saga {saga_id} is moving too fast to be stopped. Look at it, and try again.")

    def preview(self, saga_id: UUID, act: Act, by: By) -> Preview:
        """What it would do, without doing it. Raises what `act` raises."""
        now = self.engine.clock.now()
        saga, _ = self._decided(saga_id, act, by, now)
        return Preview(saga.copy(), saga.planned(now))

    def _decided(self, saga_id: UUID, act: Act, by: By, now: datetime) -> tuple[Saga, list[SagaEvent]]:
        """The saga after the act, and the events to store."""
        seen = self.engine.store.look(saga_id)
        taken_over = self._taken_over(seen, by, now)
        done = act(seen.saga, by, now)
        return seen.saga, [*taken_over, *done] if done else []

    def _taken_over(self, seen: Seen, by: By, now: datetime) -> list[SagaEvent]:
        """A driver that vanished may have sent what was due: the saga must know before anything is decided."""
        if seen.driven_until is None or seen.saga.resting:
            return []
        if seen.driven_until > now:
            raise SagaDriven(seen.owner or "unknown", seen.driven_until)
        return seen.saga.take_over(now, by.actor)
