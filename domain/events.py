"""The words of a saga's history: its statuses, which may follow which, and the event as it is stored.

A saga is the fold of its events. The database restates the statuses as CHECK constraints.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class SagaStatus(StrEnum):
    """The machine's word for where a saga is, the same for every workflow."""

    RUNNING = (
        "RUNNING"  # going forward: moved on by its driver's outcomes, or by the next driver when the lease expires
    )
    WAITING = "WAITING"  # going forward, for a message or a signal; holds no driver
    COMPENSATING = "COMPENSATING"  # undoing what was done, last first
    COMPLETED = "COMPLETED"  # every step done
    COMPENSATED = "COMPENSATED"  # everything that was done is undone
    FAILED = "FAILED"  # refused before anything had to be undone
    STUCK = "STUCK"  # parked with a reason; a person moves it on
    PAUSED = "PAUSED"  # held by a person; a person's resume moves it on


FINISHED = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED})
LIVE = frozenset(SagaStatus) - FINISHED
FORWARD = frozenset({SagaStatus.RUNNING, SagaStatus.WAITING})
HELD = frozenset({SagaStatus.STUCK, SagaStatus.PAUSED})
"""Live, and moved on by a person only."""

NEXT: dict[SagaStatus, frozenset[SagaStatus]] = {
    SagaStatus.RUNNING: frozenset(SagaStatus) - {SagaStatus.COMPENSATED},
    SagaStatus.WAITING: frozenset(SagaStatus) - {SagaStatus.COMPENSATED},
    SagaStatus.COMPENSATING: frozenset(
        {SagaStatus.COMPENSATING, SagaStatus.COMPENSATED, SagaStatus.FAILED, SagaStatus.STUCK, SagaStatus.PAUSED}
    ),
    SagaStatus.STUCK: frozenset(SagaStatus) - {SagaStatus.WAITING},
    SagaStatus.PAUSED: frozenset(SagaStatus),
    SagaStatus.COMPLETED: frozenset({SagaStatus.COMPENSATING}),
    SagaStatus.COMPENSATED: frozenset(),
    SagaStatus.FAILED: frozenset(),
}
"""Which status may follow which. A finished saga changes again only when a person has a completed one undone."""


class EventType(StrEnum):
    """What can happen to a saga."""

    SAGA_STARTED = "saga_started"
    ATTEMPT_SCHEDULED = "attempt_scheduled"  # stored before the call: from `due_at` on it may have gone out
    MESSAGE_PUBLISHED = "message_published"  # with the checkpoint that says so; `output` has its topic and its body
    ATTEMPT_POSTPONED = "attempt_postponed"  # it was due and did not go out; the same attempt is due at `due_at`
    ATTEMPT_FAILED = "attempt_failed"  # `due_at` says when it is tried again; null means never
    STEP_SUCCEEDED = "step_succeeded"  # one item of it, for a foreach step
    DRIVER_REPLACED = "driver_replaced"  # the one before vanished: what was due may have gone out
    INQUIRY_ANSWERED = "inquiry_answered"
    DEADLINE_PASSED = "deadline_passed"
    STEP_FAILED = "step_failed"
    COMPENSATION_STARTED = "compensation_started"
    UNDO_SUCCEEDED = "undo_succeeded"
    SAGA_COMPLETED = "saga_completed"
    SAGA_COMPENSATED = "saga_compensated"
    SAGA_FAILED = "saga_failed"
    SAGA_PARKED = "saga_parked"
    # What a person did: each has an `actor` and a `reason`; `due_at` is a forward saga's new deadline.
    RETRY_REQUESTED = "retry_requested"
    STEP_SKIPPED = "step_skipped"  # `action` says whether its do or its undo is taken as done
    COMPENSATION_REQUESTED = "compensation_requested"
    SAGA_PAUSED = "saga_paused"
    SAGA_RESUMED = "saga_resumed"
    SAGA_RESOLVED = "saga_resolved"


class Action(StrEnum):
    """What a call is for; the last part of its idempotency key."""

    DO = "do"
    UNDO = "undo"
    INQUIRE = "inquire"
    AWAIT = "await"  # a message; no call, and no key of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaEvent:
    """One thing that happened to a saga, as it is stored: append-only, numbered from 1 without a gap."""

    seq: int
    type: EventType
    at: datetime
    status: SagaStatus
    state: str
    previous_state: str | None = None
    step: str | None = None
    item: int | None = None
    action: Action | None = None
    attempt: int | None = None
    outcome: str | None = None
    reason: str | None = None
    output: Any = None
    due_at: datetime | None = None
    service: str | None = None
    http_method: str | None = None
    http_status: int | None = None
    duration: float | None = None
    """Seconds that the call took."""
    actor: str | None = None
