"""The trace that a saga belongs to (W3C Trace Context), and the ids of its spans.

A span's id is computed from the saga and from the number of the event that opened the span, so that every driver of a
saga knows the ids of what another one began: none of them has to be stored, and a saga that is taken over stays in one
trace, with the same parents. A saga whose client gave no trace is one of its own: its id is the trace's.
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final
from uuid import UUID

from domain.calls import Task
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent

HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_KNOWN_FLAGS: Final = 0x03
"""Sampled, and random; a version of the standard that knows more may mean something else."""

CALL: Final = "call"
MESSAGE: Final = "message"
SAGA: Final = "saga"
"""What a span is of: a part of its id."""

PERSONS: Final = frozenset(
    {
        EventType.RETRY_REQUESTED,
        EventType.STEP_SKIPPED,
        EventType.COMPENSATION_REQUESTED,
        EventType.SAGA_RESUMED,
        EventType.SAGA_RESOLVED,
    }
)
"""A saga that a person moves on goes on under a span of its own."""


def accepted(value: str | None) -> str | None:
    """A `traceparent` as it is kept, in the standard's version 00; None for one that is not valid.

    Of a later version what 00 knows is taken (W3C Trace Context, 4.3).
    """
    found = _FORM.fullmatch(value.strip(" \t")) if value and len(value) <= 512 else None  # noqa: PLR2004 - no header is longer
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return f"00-{trace}-{span}-{int(flags, 16) & _KNOWN_FLAGS:02x}"


def trace_id(saga: Saga) -> str:
    """The trace of a saga, in 32 hexadecimal digits."""
    return trace_of(saga.origin.traceparent, saga.id)


def trace_of(traceparent: str | None, saga_id: UUID) -> str:
    """As `trace_id`, by what is stored of the saga."""
    return traceparent[3:35] if traceparent else saga_id.hex


def span_id(saga_id: UUID, what: str, seq: int) -> str:
    """The span opened by this event of the saga, in 16 hexadecimal digits."""
    return blake2b(b"%s%s%d" % (saga_id.bytes, what.encode(), seq), digest_size=8).hexdigest()


Sampled = Callable[[UUID], bool]
"""Whether the spans of a saga without a client's trace are recorded."""


def unsampled(_: UUID) -> bool:
    """As it is while tracing is off."""
    return False


def child(traceparent: str | None, saga_id: UUID, what: str, seq: int, sampled: Sampled = unsampled) -> str:
    """The `traceparent` that this span of the saga gives to whom it calls.

    It says "sampled" as the client's does; without one, only when the saga's own spans are: below a root that nobody
    records, participants need not record either.
    """
    flags = traceparent[-2:] if traceparent else f"{sampled(saga_id):02x}"
    return f"00-{trace_of(traceparent, saga_id)}-{span_id(saga_id, what, seq)}-{flags}"


def call_traceparent(task: Task, sampled: Sampled = unsampled) -> str:
    """What a call carries: its own attempt is the parent of whatever the participant does."""
    return child(task.traceparent, task.saga_id, CALL, task.attempt.seq, sampled)


def joined(saga: Saga) -> dict[str, str]:
    """What joins the log lines about a saga, with each other, with its trace and with its client's."""
    return {"saga_id": str(saga.id), "correlation_id": saga.origin.correlation_id, "trace_id": trace_id(saga)}


def span_of(saga: Saga, event: SagaEvent) -> str:
    """The span that this event of the saga happened in: its call's, or else the whole saga's."""
    if event.attempt is not None and event.action is not Action.AWAIT:
        return span_id(saga.id, CALL, opened(saga.history[: event.seq], event).seq)
    return span_id(saga.id, SAGA, latest_begin(saga.history[: event.seq]).seq)


def opened(history: list[SagaEvent], event: SagaEvent) -> SagaEvent:
    """The event that made the call of this one due; itself for a call that could not even be made due."""
    place = (event.step, event.item, event.action, event.attempt)
    for earlier in reversed(history):
        if (
            earlier.type is EventType.ATTEMPT_SCHEDULED
            and (earlier.step, earlier.item, earlier.action, earlier.attempt) == place
        ):
            return earlier
    return event


def latest_begin(history: list[SagaEvent]) -> SagaEvent:
    """The saga's start, or what a person did last to move it on."""
    for event in reversed(history):
        if event.actor is not None and event.type in PERSONS:
            return event
    return history[0]
