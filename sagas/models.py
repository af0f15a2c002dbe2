"""`from sagas.models import SagaTransaction`: a stored saga, its steps and its events, to look at in a shell.

Read from the saga's own history each time; no table, and nothing that can be saved.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from domain.entities import Saga
from domain.events import Action, SagaEvent
from domain.exceptions import SagaNotFound
from domain.step_progress import StepProgress, StepStatus, steps_of
from interfaces.cashout import saga_id_of
from interfaces.platform import engine, platform

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class SagaStep:
    """One step, or one item of it; times are in UTC, `duration` is seconds."""

    name: str
    order: int
    status: StepStatus
    attempts: int
    compensation_attempts: int
    started_at: datetime | None = field(repr=False)
    completed_at: datetime | None = field(repr=False)
    duration: float | None = field(repr=False)
    error: str | None

    def __repr__(self) -> str:
        """What a shell shows."""
        return f"<SagaStep: {self.order} {self.name} {self.status}{f' ({self.error})' if self.error else ''}>"


@dataclass(frozen=True, slots=True)
class SagaHappening:
    """One event; `message` is never empty."""

    event_type: str
    message: str
    step: str | None
    status: str
    created_at: datetime

    def __repr__(self) -> str:
        """What a shell shows."""
        return f"<SagaEvent: {self.event_type}: {self.message}>"


@dataclass(frozen=True, slots=True)
class Rows(Generic[Row]):
    """What a saga has several of."""

    _rows: tuple[Row, ...]

    def all(self) -> list[Row]:
        """All of them, in their order."""
        return list(self._rows)


class SagaTransactions:
    """`SagaTransaction.objects`."""

    def get(self, *, id: UUID | str) -> "SagaTransaction":  # noqa: A002 - the published word
        """The saga with this id, of any workflow. Raises SagaTransaction.DoesNotExist."""
        platform().prepare()
        return SagaTransaction(engine().store.load(saga_id_of(id)))


class SagaTransaction:
    """One saga as it is stored when it is asked for."""

    DoesNotExist = SagaNotFound
    objects = SagaTransactions()

    def __init__(self, saga: Saga) -> None:
        self.id = saga.id
        self.saga_type = saga.definition.name
        self.correlation_id = saga.origin.correlation_id
        self.status = saga.status
        self.state = saga.state
        self.error = saga.failure.reason if saga.failure else None
        self.created_at = saga.origin.started_at
        self.finished_at = saga.finished_at
        self.steps = Rows(tuple(map(_step, steps_of(saga))))
        self.events = Rows(tuple(map(_happening, saga.history)))

    def __repr__(self) -> str:
        """What a shell shows."""
        return f"<SagaTransaction: {self.id} {self.saga_type} {self.status}>"


def _step(row: StepProgress) -> SagaStep:
    names = ("order", "status", "attempts", "compensation_attempts", "started_at", "completed_at", "duration", "error")
    return SagaStep(name=row.place, **{name: getattr(row, name) for name in names})


def _happening(event: SagaEvent) -> SagaHappening:
    return SagaHappening(event.type.value, _message(event), event.step, event.status.value, event.at)


def _message(event: SagaEvent) -> str:
    """`wallet_credit (undo), attempt 2: no connection`; of the whole saga the state that it is in."""
    words: list[Any] = [event.step or event.state]
    if event.item is not None:
        words = [f"{event.step}[{event.item}]"]
    if event.action not in {None, Action.DO}:
        words.append(f" ({event.action})")
    if event.attempt and event.attempt > 1:
        words.append(f", attempt {event.attempt}")
    if event.reason:
        words.append(f": {event.reason}")
    return "".join(words)
