"""How far each step of a saga is, as its events tell it: a row a step, and for a foreach step a row an item."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent


class StepStatus(StrEnum):
    """How far one step is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    NOT_NEEDED = "NOT_NEEDED"  # its `when` was false, or its list empty
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    COMPENSATION_FAILED = "COMPENSATION_FAILED"


_FOLLOWS = {
    (EventType.ATTEMPT_SCHEDULED, Action.DO): StepStatus.RUNNING,
    (EventType.ATTEMPT_SCHEDULED, Action.AWAIT): StepStatus.RUNNING,
    (EventType.ATTEMPT_SCHEDULED, Action.UNDO): StepStatus.COMPENSATING,
    (EventType.STEP_SUCCEEDED, Action.DO): StepStatus.COMPLETED,
    (EventType.STEP_SUCCEEDED, Action.AWAIT): StepStatus.COMPLETED,
    (EventType.STEP_SUCCEEDED, None): StepStatus.NOT_NEEDED,
    (EventType.STEP_SKIPPED, Action.DO): StepStatus.COMPLETED,
    (EventType.STEP_FAILED, None): StepStatus.FAILED,
    (EventType.DEADLINE_PASSED, None): StepStatus.FAILED,
    (EventType.UNDO_SUCCEEDED, Action.UNDO): StepStatus.COMPENSATED,
    (EventType.STEP_SKIPPED, Action.UNDO): StepStatus.COMPENSATED,
}
_ENDS = frozenset({StepStatus.COMPLETED, StepStatus.NOT_NEEDED, StepStatus.FAILED})


@dataclass(slots=True)
class StepProgress:
    """One step, or one item of it."""

    name: str
    order: int
    item: int | None = None
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    compensation_attempts: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None

    @property
    def place(self) -> str:
        """`step`, or `step[item]`."""
        return self.name if self.item is None else f"{self.name}[{self.item}]"

    @property
    def duration(self) -> float | None:
        """Seconds from its first call to its end."""
        if self.completed_at is None or self.started_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()

    def take(self, event: SagaEvent) -> None:
        """An event of this step."""
        if event.type is EventType.ATTEMPT_SCHEDULED:
            self._begin(event)
        elif event.type is EventType.ATTEMPT_FAILED:
            self.error = event.reason
            if event.due_at is None and event.action is not Action.INQUIRE:
                given_up = event.action is Action.UNDO
                self._stand(StepStatus.COMPENSATION_FAILED if given_up else StepStatus.FAILED, event)
        elif event.type is EventType.INQUIRY_ANSWERED:
            self._stand(StepStatus.COMPLETED if event.outcome == "done" else StepStatus.FAILED, event)
        status = _FOLLOWS.get((event.type, event.action))
        if status:
            self._stand(status, event)

    def as_dict(self, output: Any) -> dict[str, Any]:
        """The published shape of a step; `duration` is seconds."""
        return {
            "name": self.name,
            "order": self.order,
            "status": self.status,
            "attempts": self.attempts,
            "compensation_attempts": self.compensation_attempts,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "duration": self.duration,
            "error": self.error,
            "output": output,
        }

    def _begin(self, event: SagaEvent) -> None:
        if event.action is Action.UNDO:
            self.compensation_attempts += 1
        elif event.action is not Action.INQUIRE:
            self.attempts += 1
            self.started_at = self.started_at or (event.at if event.action is Action.AWAIT else event.due_at)

    def _stand(self, status: StepStatus, event: SagaEvent) -> None:
        self.status = status
        if status in _ENDS:
            self.completed_at = event.at
        if status is StepStatus.COMPLETED:
            self.error = None


def steps_of(saga: Saga) -> list[StepProgress]:
    """Every step in order, with how far it is; a foreach step that has begun has a row an item."""
    return [row for order, step in enumerate(saga.definition.steps, start=1) for row in _rows(saga, step.name, order)]


def _rows(saga: Saga, name: str, order: int) -> list[StepProgress]:
    events = [event for event in saga.history if event.step == name]
    items = sorted({event.item for event in events if event.item is not None})
    rows = [StepProgress(name, order, item) for item in items] or [StepProgress(name, order)]
    for event in events:
        for row in rows:
            if event.item in {None, row.item}:
                row.take(event)
    return rows
