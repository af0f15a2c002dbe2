"""A saga's spans, as its stored events tell them: what has ended by these events, with its parent and its times.

A span is known when it has ended, and its id from when it began (application/trace_context.py). So nothing is kept in
between, and whoever ends a step or a saga that another process began ends the very same span.

    request or message                      its client's, or of its own trace
      saga                                  from its start until it rests; once more for each time a person moves it on
        step | undo                         from its first call until its last answer
          attempt                           a call, or the wait for a message
          publish                           a message in the outbox
        checkpoint                          the statement that stored what happened
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import islice
from typing import Final, NamedTuple

from application.trace_context import CALL, MESSAGE, PERSONS, SAGA, latest_begin, opened, span_id, trace_id
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.outcomes import Unknown

CHECKPOINT: Final = "checkpoint"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ANSWERS: Final = (
    EventType.STEP_SUCCEEDED,
    EventType.ATTEMPT_FAILED,
    EventType.UNDO_SUCCEEDED,
    EventType.INQUIRY_ANSWERED,
)
_SETTLES: Final = (*_ANSWERS, EventType.STEP_SKIPPED)
_NOTABLE: Final = {
    EventType.DRIVER_REPLACED,
    EventType.DEADLINE_PASSED,
    EventType.COMPENSATION_STARTED,
    EventType.SAGA_PARKED,
    EventType.SAGA_PAUSED,
}
"""What is shown as events of the saga's span."""


class Kind(IntEnum):
    """As OpenTelemetry's protocol numbers them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Span(NamedTuple):
    """Something that has ended. Times are nanoseconds since 1970; ids hexadecimal; `failure` is a bounded word."""

    trace: str
    name: str
    id: str
    parent: str | None
    begin: int
    end: int
    attributes: dict[str, str | int]
    kind: Kind = Kind.INTERNAL
    failure: str | None = None
    happened: Sequence[tuple[str, int]] = ()


def told(saga: Saga, events: Sequence[SagaEvent], begin: int, end: int) -> Iterator[Span]:
    """The spans that end with these events, the saga's last ones, stored in this time; and their checkpoint."""
    return _Teller.of(saga).told(events, begin, end)


def not_stored(saga: Saga, events: Sequence[SagaEvent], begin: int, end: int, failure: str) -> Span:
    """The checkpoint that failed to store these events."""
    return _Teller.of(saga).checkpoint(events, begin, end, failure)


def nanoseconds(time: datetime) -> int:
    """A time as OpenTelemetry has it."""
    return (time - _EPOCH) // _MICROSECOND * 1000


@dataclass(frozen=True, slots=True)
class _Teller:
    """A saga, and what all its spans share."""

    saga: Saga
    trace: str
    about: dict[str, str | int]
    life: SagaEvent
    """Its start, or what a person did last."""
    own: str
    """The span of that."""

    @classmethod
    def of(cls, saga: Saga) -> "_Teller":
        life = latest_begin(saga.history)
        about: dict[str, str | int] = {"saga.id": str(saga.id), "saga.workflow": saga.definition.name}
        return cls(saga, trace_id(saga), about, life, span_id(saga.id, SAGA, life.seq))

    def told(self, events: Sequence[SagaEvent], begin: int, end: int) -> Iterator[Span]:
        settled: dict[tuple[str, bool], SagaEvent] = {}
        for event in events:
            if event.actor is not None and event.type in PERSONS:
                yield from self._interrupted(event)
            if event.step is None or event.action is None:
                continue
            if event.type is EventType.MESSAGE_PUBLISHED:
                yield self._message(event)
            elif event.type in _SETTLES:
                settled[event.step, event.action is Action.UNDO] = event
                if event.type is not EventType.STEP_SKIPPED and event.attempt is not None:
                    yield from self._attempt(event)
        if settled:
            under_way = {(each.step, each.action is Action.UNDO) for each in self.saga.waiting()}
            yield from (self._step(event) for place, event in settled.items() if place not in under_way)
        if self.saga.resting:
            yield from self._left_open(nanoseconds(events[-1].at))
            yield self._whole(events[-1], end)
        yield self.checkpoint(events, begin, end)

    def checkpoint(self, events: Sequence[SagaEvent], begin: int, end: int, failure: str | None = None) -> Span:
        # What could not be stored is stored again under the same numbers.
        own = span_id(self.saga.id, f"{CHECKPOINT} {begin}" if failure else CHECKPOINT, events[0].seq)
        about = {**self.about, "saga.status": self.saga.status.value, "saga.events": len(events)}
        return Span(self.trace, CHECKPOINT, own, self.own, begin, end, about, failure=failure)

    def _attempt(self, event: SagaEvent) -> Iterator[Span]:
        """The call that this event ends; none for one that never went out."""
        due = opened(self.saga.history, event)
        end = nanoseconds(event.at)
        if event.duration is not None:
            begin = end - int(event.duration * 1e9)
        elif event.action is Action.AWAIT:
            begin = nanoseconds(due.at)
        elif event.outcome == Unknown.kind and due.due_at:
            begin = min(nanoseconds(due.due_at), end)  # its driver vanished
        else:
            return
        own, parent = span_id(self.saga.id, CALL, due.seq), self._step_id(event)[0]
        waits = event.action is Action.AWAIT
        name, kind = ("await", Kind.CONSUMER) if waits else ("attempt", Kind.CLIENT)
        failure = event.outcome if event.type is EventType.ATTEMPT_FAILED else None
        about = {**self.about, **_facts(event)}
        yield Span(self.trace, f"{name} {event.step}", own, parent, begin, end, about, kind, failure)

    def _message(self, event: SagaEvent) -> Span:
        at = nanoseconds(event.at)
        facts = {"saga.step": event.step, "messaging.system": "pulsar", "messaging.destination.name": event.service}
        own, parent = span_id(self.saga.id, MESSAGE, event.seq), self._step_id(event)[0]
        return Span(self.trace, f"publish {event.service}", own, parent, at, at, {**self.about, **facts}, Kind.PRODUCER)

    def _step(self, event: SagaEvent) -> Span:
        """A step, or its undo, that waits for no answer any more."""
        own, opening = self._step_id(event)
        if event.action is Action.UNDO:
            name, done = f"undo {event.step}", event.type is not EventType.ATTEMPT_FAILED
        else:
            name, done = f"step {event.step}", event.step in self.saga.outputs
        failure = None if done else event.outcome or "failed"
        about = {**self.about, "saga.step": event.step}
        times = nanoseconds(opening.at), nanoseconds(event.at)
        return Span(self.trace, name, own, self.own, *times, about, failure=failure)

    def _step_id(self, event: SagaEvent) -> tuple[str, SagaEvent]:
        """The span of the step, or of its undo, that this event belongs to, and what opened it."""
        undo = event.action is Action.UNDO
        opening = self.life
        for other in islice(self.saga.history, self.life.seq, None):
            if (
                other.step == event.step
                and (other.type is EventType.ATTEMPT_SCHEDULED or other.type is EventType.MESSAGE_PUBLISHED)
                and (other.action is Action.UNDO) == undo
            ):
                opening = other
                break
        return span_id(self.saga.id, f"{'undo' if undo else 'step'} {event.step}", opening.seq), opening

    def _whole(self, last: SagaEvent, end: int) -> Span:
        """The saga, or what followed from what a person did."""
        saga, life = self.saga, self.life
        given, workflow = saga.origin.traceparent, saga.definition.name
        if life.seq == 1:
            name, parent = f"saga {workflow}", given[36:52] if given else None
        else:
            name, parent = f"{life.type} {workflow}", span_id(saga.id, SAGA, 1)
        happened = [event for event in islice(saga.history, life.seq, last.seq) if event.type in _NOTABLE]
        return Span(
            self.trace,
            name,
            self.own,
            parent,
            nanoseconds(life.at),
            end,
            {**self.about, "saga.version": saga.definition.version, "saga.status": last.status.value},
            failure=_failure(saga, last),
            happened=[(event.type.value, nanoseconds(event.at)) for event in happened],
        )

    def _interrupted(self, person: SagaEvent) -> Iterator[Span]:
        """What was under way when a person moved the saga on: it goes on below what the person did."""
        before = Saga.restore(self.saga.definition, self.saga.origin, self.saga.history[: person.seq - 1])
        if before.resting:
            return
        teller, at = _Teller.of(before), nanoseconds(person.at)
        yield from teller._left_open(at)  # noqa: SLF001 - its own kind
        yield teller._whole(before.history[-1], at)  # noqa: SLF001 - as above

    def _left_open(self, at: int) -> Iterator[Span]:
        """The steps and undos that were begun in this life and still wait when it ends: they go on in the next one."""
        waiting = {(each.step, each.action) for each in self.saga.waiting()}
        found = {}
        for event in islice(self.saga.history, self.life.seq, None):
            if (event.step, event.action) in waiting:
                span = self._step(event)._replace(end=at, failure=None)
                found[span.id] = span
        yield from found.values()


def _facts(event: SagaEvent) -> dict[str, str | int]:
    """What is known of a call."""
    facts = {
        "saga.step": event.step,
        "saga.action": event.action,
        "saga.attempt": event.attempt,
        "saga.outcome": event.outcome,
        "saga.service": event.service,
        "saga.item": event.item,
        "http.request.method": event.http_method,
        "http.response.status_code": event.http_status,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _failure(saga: Saga, last: SagaEvent) -> str | None:
    if last.status is SagaStatus.STUCK:
        return "stuck"
    return saga.failure.outcome if saga.failure and last.status is not SagaStatus.PAUSED else None
