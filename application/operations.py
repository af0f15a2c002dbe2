"""What a person does to a saga: only to one that nobody drives, stored as an event, and shown before it is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from application.ports import Seen
from application.saga_orchestrator import SagaOrchestrator
from domain.calls import Task
from domain.definition import Publish, Request, Step
from domain.entities import Saga
from domain.events import Action, SagaEvent, SagaStatus
from domain.exceptions import LeaseLost, NotAllowed, NotAwaited, SagaDriven, SagaMoved
from domain.operations import By
from domain.sentences import said

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


def giving(message: Mapping[str, Any]) -> Act:
    """To give a waiting saga its message by hand. Done, it raises NotAwaited when the saga does not wait for it."""

    def given(saga: Saga, by: By, now: datetime) -> list[SagaEvent]:
        events = saga.signal(message, now, by=by)
        if not events:
            raise NotAwaited
        return events

    return given


def refusals(seen: Seen, now: datetime) -> dict[str, str | None]:
    """Each verb of `WHOLE`, and why it cannot be done to the saga now; None when it can, "" when it is done already."""
    if seen.driven_until and seen.driven_until > now and not seen.saga.resting:
        driven = SagaDriven(seen.owner or "unknown", seen.driven_until).sentence
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
        return error.sentence


def skips(seen: Seen) -> list[dict[str, Any]]:
    """The steps and undos that could be taken as done by hand now: where the saga stands, and what it owes."""
    stands = seen.saga
    if stands.finished:
        return []
    undoing = SagaStatus.COMPENSATING in {stands.status, stands.held_from if stands.held else None}
    if undoing:
        return [{"action": Action.UNDO.value, "place": place} for place in stands.debts()]
    places = [waiting.place for waiting in stands.waiting()]
    if stands.failure and stands.failure.place not in places:
        places.append(stands.failure.place)
    return [{"action": Action.DO.value, "place": place} for place in places]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an act would do: the saga as it would stand, and the calls that would follow if each succeeded."""

    seq: int
    """That of the saga which was looked at: an act that expects it does what is shown here, or nothing."""
    saga: Saga
    calls: list[Task | tuple[Step, Request | Publish]]


@dataclass(frozen=True, slots=True)
class Operations:
    """The operator's verbs over an engine."""

    engine: SagaOrchestrator

    def act(self, saga_id: UUID, act: Act, by: By, expected: int | None = None) -> Saga:
        """Do it, and return the saga; unchanged when what is asked for stands already.

        `expected` is the `seq` of the saga that the person looked at. Raises SagaNotFound, NotAllowed (the saga's
        status does not allow it), SagaDriven (a driver owns it) and SagaMoved (its seq is another, or becomes so).
        """
        for _ in range(MEETINGS):
            now = self.engine.clock.now()
            _, saga, events = self._decided(saga_id, act, by, now, expected)
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
        text = said("Saga %(saga)s is moving too fast to be stopped. Look at it, and try again.", saga=saga_id)
        raise LeaseLost(text)

    def preview(self, saga_id: UUID, act: Act, by: By, expected: int | None = None) -> Preview:
        """What it would do, without doing it. Raises what `act` raises."""
        now = self.engine.clock.now()
        seq, saga, _ = self._decided(saga_id, act, by, now, expected)
        return Preview(seq, saga.copy(), saga.planned(now))

    def _decided(
        self, saga_id: UUID, act: Act, by: By, now: datetime, expected: int | None
    ) -> tuple[int, Saga, list[SagaEvent]]:
        """The saga's seq before the act, the saga after it, and the events to store."""
        seen = self.engine.store.look(saga_id)
        seq = seen.saga.seq
        if expected not in {None, seq}:
            raise SagaMoved
        if act is Saga.compensate and seen.saga.turned_back:
            return seq, seen.saga, []  # what is asked for stands, also while a driver is at it
        taken_over = self._taken_over(seen, by, now)
        done = act(seen.saga, by, now)
        return seq, seen.saga, [*taken_over, *done] if done else []

    def _taken_over(self, seen: Seen, by: By, now: datetime) -> list[SagaEvent]:
        """A driver that vanished may have sent what was due: the saga must know before anything is decided."""
        if seen.driven_until is None or seen.saga.resting:
            return []
        if seen.driven_until > now:
            raise SagaDriven(seen.owner or "unknown", seen.driven_until)
        return seen.saga.take_over(now, by.actor)
