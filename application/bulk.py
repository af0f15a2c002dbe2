"""Trouble in groups, and one remedy for a whole group: so many sagas a second, in a worker, with progress."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from application.operations import Act, Operations
from domain.entities import Saga
from domain.events import SagaEvent
from domain.exceptions import NotAllowed, SagaDriven, SagaError, StoreUnavailable
from domain.operations import By

DRIVEN_WAITS = (0.5, 1.0, 2.0)
"""Seconds between tries for a saga that a driver owns: with the slowest pace's ten, less than a remedy's lease."""
VERBS: dict[str, Act] = {"retry": Saga.retry, "compensate": Saga.compensate}
"""What can be done to many at once."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Live sagas that are in trouble for the same reason; `oldest` is the first of their last answers."""

    id: str
    workflow: str
    step: str
    action: str
    service: str
    outcome: str
    fingerprint: str
    sagas: int
    parked: int
    oldest: datetime
    examples: list[UUID]
    reason: str
    """That of the first example, complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """One remedy for the sagas that were in a group when it was asked for."""

    id: UUID
    group: str
    verb: str
    reason: str
    actor: str
    per_second: float
    created_at: datetime
    total: int = 0
    done: int = 0
    refused: int = 0
    finished_at: datetime | None = None
    cancelled: bool = False
    cancelled_by: str | None = None


class BulkStore(Protocol):
    """Where groups are found and remedies are kept."""

    def failures(self, limit: int) -> list[FailureGroup]:
        """The groups of live sagas in trouble, the largest first."""

    def begin(self, bulk: Bulk, at_most: int | None = None) -> Bulk | None:
        """Store a remedy with the sagas that are in its group now; the one under way if there is the same already.

        None when the group is empty. Raises GroupGrown when there are more than `at_most`, having stored nothing.
        """

    def group(self, group: str) -> FailureGroup | None:
        """One group; None when no saga is in that trouble."""

    def in_trouble(self, saga_id: UUID, group: str) -> bool:
        """Whether the saga is in that group now."""

    def load(self, bulk_id: UUID) -> Bulk | None:
        """One remedy."""

    def recent(self, limit: int) -> list[Bulk]:
        """The newest first."""

    def refusals(self, bulk_id: UUID, limit: int) -> list[tuple[UUID, str]]:
        """Sagas that it could not be done to, and why."""

    def cancel(self, bulk_id: UUID, actor: str, now: datetime) -> None:
        """Do it to no more sagas; `actor` is who says so. What has ended stays as it is."""

    def claim(self, owner: str, now: datetime) -> Bulk | None:
        """Own the oldest remedy that nobody applies."""

    def next_saga(self, bulk_id: UUID, owner: str) -> UUID | None:
        """The next saga whose turn it is; None when all had theirs, and when the remedy is another's, or cancelled."""

    def record(self, bulk_id: UUID, saga_id: UUID, refusal: str | None, owner: str, now: datetime) -> bool:
        """Note that it was done, or why not, and keep the remedy; False when it is another's, or cancelled.

        What was done is noted then too, so that nothing is done that the remedy does not tell; a refusal is not.
        """

    def finish(self, bulk_id: UUID, owner: str, now: datetime) -> None:
        """Every saga had its turn."""


@dataclass(frozen=True, slots=True)
class BulkRunner:
    """Applies remedies, one at a time. `pause(seconds)` waits, and is true when the process stops."""

    operations: Operations
    store: BulkStore
    owner: str
    pause: Callable[[float], bool]

    def run_one(self) -> bool:
        """Apply the oldest remedy that nobody applies; False when there is none."""
        clock = self.operations.engine.clock
        bulk = self.store.claim(self.owner, clock.now())
        if bulk is None:
            return False
        # Asked after every pause: a remedy that was cancelled meanwhile does nothing more.
        while saga_id := self.store.next_saga(bulk.id, self.owner):
            refusal = self._apply(bulk, saga_id)
            # Crash before this write: another worker comes to this saga again, and changes nothing, or finds it
            # out of its trouble. After it: another worker goes on with the next one.
            if not self.store.record(bulk.id, saga_id, refusal, self.owner, clock.now()):
                return True
            if self.pause(1 / bulk.per_second):
                return True
        self.store.finish(bulk.id, self.owner, clock.now())
        return True

    def _apply(self, bulk: Bulk, saga_id: UUID) -> str | None:
        """Do it to one saga; why not, if it was not done. A saga that is driven is waited for a little."""
        by = By(actor=bulk.actor, reason=f"{bulk.reason} (bulk {bulk.id})")
        for patience in (*DRIVEN_WAITS, None):
            try:
                if not self.store.in_trouble(saga_id, bulk.group):
                    return "It is no longer in this trouble."
                self.operations.act(saga_id, partial(_unless_ended, VERBS[bulk.verb]), by)
            except SagaDriven as error:
                if patience is None or self.pause(patience):
                    return str(error)
                if self.store.next_saga(bulk.id, self.owner) != saga_id:  # cancelled meanwhile, or another's
                    return str(error)
            except StoreUnavailable:
                raise
            except SagaError as error:
                return str(error)
            else:
                return None
        raise AssertionError  # the loop returns


def _unless_ended(verb: Act, saga: Saga, by: By, now: datetime) -> list[SagaEvent]:
    """A saga that has ended since the group was looked at is left as it is: it needs no remedy."""
    if saga.finished:
        raise NotAllowed(f"It has ended: {saga.status}.")
    return verb(saga, by, now)
