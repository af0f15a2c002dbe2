"""What the use cases need from the outside, as they see it. Adapters are in infrastructure/; tests bring their own."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Event
from typing import Any, Protocol
from uuid import UUID

from domain.calls import Task
from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import SagaEvent
from domain.outcomes import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one driver to move a saga, until it expires. Its token fences every write."""

    token: UUID
    owner: str
    expires_at: datetime
    seconds: float

    def renewed(self, now: datetime) -> "Lease":
        """The lease to store with a checkpoint at `now`: extended only when less than half is left.

        Most sagas end long before; leaving the expiry alone keeps the row's index entries as they are.
        """
        if self.expires_at - now > timedelta(seconds=self.seconds / 2):
            return self
        return replace(self, expires_at=now + timedelta(seconds=self.seconds))


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A client's Idempotency-Key and the hash of what it asked for under it."""

    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Existing:
    """The saga that an Idempotency-Key started before."""

    saga_id: UUID
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """A saga that a driver now owns. `abandoned`: the driver before vanished with its lease, mid-way."""

    saga: Saga
    abandoned: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that was put aside: no broker would take it. `seq` is the saga's event that has it."""

    number: int
    saga_id: UUID
    seq: int
    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A saga and who drives it: `driven_until` is when its lease expires, None when nobody has one.

    `unsent`: its messages that were put aside. What they were to do is not done, whatever the saga's status says.
    """

    saga: Saga
    owner: str | None
    driven_until: datetime | None
    unsent: tuple[Refused, ...] = ()


class SagaStore(Protocol):
    """Where sagas live. Every write is one statement, and is refused with LeaseLost when the lease is not held.

    With its events go the business ids that became known (domain/business_ids.py).
    """

    def create(
        self, saga: Saga, events: Sequence[SagaEvent], lease: Lease | None, request: IdempotentRequest | None
    ) -> Existing | None:
        """Store a new saga with its first events; return the earlier one instead when the request's key is taken.

        Without a lease it belongs to whoever claims it first.
        """

    def started(self, tenant: str, key: str) -> Existing | None:
        """The saga that this tenant's idempotency key started; None when it started none."""

    def checkpoint(self, saga: Saga, events: Sequence[SagaEvent], lease: Lease) -> None:
        """Append the events and move the saga on. A saga that is finished or parked gives its lease up with it."""

    def extend(self, saga: Saga, lease: Lease) -> None:
        """Let the lease, which must be held, expire later. Raises LeaseLost."""

    def hand_over(self, saga: Saga, lease: Lease) -> None:
        """Give the lease up, so that a worker takes the saga when its next call is due."""

    def make_durable(self) -> None:
        """See to it that whatever could be read from the store until now survives a crash of the store."""

    def load(self, saga_id: UUID) -> Saga:
        """The saga as its stored events left it. Raises SagaNotFound."""

    def load_all(self, ids: Sequence[UUID]) -> dict[UUID, Saga]:
        """These sagas, those of them that there are and that this release can read."""

    def look(self, saga_id: UUID) -> Seen:
        """The saga and its driver. Raises SagaNotFound."""

    def intervene(self, saga: Saga, events: Sequence[SagaEvent], now: datetime) -> None:
        """Append what a person did to a saga that nobody drives, and make it due. LeaseLost when it moved meanwhile."""

    def next_due(self) -> datetime | None:
        """When the first saga becomes due that is not; None while there is none."""

    def claim(self, lease: Lease, now: datetime, limit: int) -> list[Claimed]:
        """Own up to `limit` sagas that are due and that nobody holds, oldest first, and read them."""


class Notices(Protocol):
    """Word of new work. Losing one costs no more than the time until the next look."""

    def wait(self, seconds: float) -> None:
        """Return when there may be new work, when woken, or after the time."""

    def wake(self) -> None:
        """End the wait of another thread, or of the code that a signal interrupted."""

    def close(self) -> None:
        """Listen no more."""


@dataclass(frozen=True, slots=True)
class Prunable:
    """How many finished sagas of a workflow are past their retention, and when the first of them finished."""

    workflow: str
    sagas: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one batch deleted; `until` is when the last of its sagas finished, None when it found none."""

    sagas: int = 0
    events: int = 0
    messages: int = 0
    until: datetime | None = None


class Retention(Protocol):
    """Deletes finished sagas that nobody needs any more. A live saga, and one whose messages wait, is never deleted."""

    def workflows(self) -> list[str]:
        """The names that a saga can have been started under."""

    def prunable(self, workflow: str, before: datetime) -> Prunable | None:
        """The finished sagas of the workflow that finished before the time; None when there are none."""

    def prune(self, workflow: str, before: datetime, since: datetime | None, limit: int) -> Pruned:
        """Delete up to `limit` of them with all that belongs to them, oldest first, in one short transaction.

        What another process is deleting is passed over. `since` is the `until` of the batch before: what finished
        earlier is not looked at again, which keeps a batch's cost from growing with what was deleted before it.
        """


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a broker. Those of one topic and key keep their order."""

    topic: str
    key: str
    body: bytes
    properties: dict[str, str] = field(default_factory=dict)


class Verdict(StrEnum):
    """What becomes of a message that was looked at."""

    DONE = "done"
    LATER = "later"  # it is too early for this one: deliver it again in a while, for as long as it takes
    AWAY = "away"  # no message can be taken now: deliver this one again before any other
    DEAD = "dead"  # to the dead letters at once


class Publisher(Protocol):
    """Sends messages to the broker."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Send all, in order per topic and key; return when the broker has acknowledged every one.

        Raises BrokerUnavailable if not all were acknowledged in time; some may have been sent. Raises
        TopicsUnavailable, a kind of it, with those for topics that the broker does not take now; all others were sent.
        Raises MessageRefused with those that it would never take; to send the others again is right.
        """


class Subscriber(Protocol):
    """Gets messages from the broker."""

    def consume(
        self, topics: Sequence[str], subscription: str, handle: Callable[[Message], Verdict], stop: Event
    ) -> None:
        """Hand every message to `handle` until `stop` is set. One on which that raises comes again, and goes to the
        dead letters in the end.
        """


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message in the outbox: `number` is its place in the order."""

    number: int
    message: Message


class Outbox(Protocol):
    """Messages that checkpoints have stored, in their order, until the broker has them."""

    def lead(self) -> bool:
        """Whether this process is the one that empties the outbox; only one is, so that the order holds."""

    def waiting(self, limit: int, but: Collection[str] = ()) -> list[Outgoing]:
        """The oldest messages, but those for these topics."""

    def sent(self, messages: Sequence[Outgoing]) -> None:
        """The broker has them."""

    def put_aside(self, message: Outgoing, reason: str) -> None:
        """No broker would take it: kept for a person, out of the others' way."""

    def refused(self, limit: int | None = None) -> list[Refused]:
        """The messages that were put aside, in their order; the first of them with a limit."""

    def settle(self, number: int, *, send: bool) -> bool:
        """Send one of them after all, or let it go; False when there is no such."""


class Rates(Protocol):
    """Counts requests, for all processes together."""

    def count(self, scope: str, caller: str, now: datetime, limit: int) -> int:
        """Count one more, and say how many the caller has made in this minute of the clock: `limit` + 1 at most.

        0 while it cannot be counted: what cannot be stored either is refused where it is stored.
        """


class Participants(Protocol):
    """The business services."""

    def call(self, task: Task) -> Reply:
        """Make one call, and say how it ended. Never raises for anything that a participant or a network can do."""

    def call_all(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Reply]]:
        """Make several calls at once, and give each reply as it comes."""


class Clock(Protocol):
    """Time, as a parameter."""

    def now(self) -> datetime:
        """The time in UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class Publication:
    """Who stored a version of a workflow, and when; a version that came with a release has RELEASE, one stored before
    this was kept has None.
    """

    by: str | None
    at: datetime


RELEASE = "release"


class Definitions(Protocol):
    """The workflows that can run."""

    def newest(self, name: str) -> SagaDefinition:
        """The version under which new sagas start, the same for every process. Raises WorkflowUnknown."""

    def version(self, name: str, version: int) -> SagaDefinition:
        """One version. Raises WorkflowUnknown."""

    def all(self) -> Iterable[SagaDefinition]:
        """Every version of every workflow, by name and version."""

    def add(self, definition: SagaDefinition, by: str) -> bool:
        """Store a version for this actor; False when just this is stored already.

        Raises DefinitionChanged when another content is.
        """

    def would_add(self, definition: SagaDefinition) -> bool:
        """What `add` would answer, or raise; nothing is stored."""

    def publication(self, definition: SagaDefinition) -> Publication | None:
        """Who stored this version, and when; None when it is not stored."""

    def content(self, definition: SagaDefinition) -> dict[str, Any]:
        """The definition as canonical JSON: what is equal has equal texts, and `read_definition` gives it back."""

    def schema_faults(self, schema: Mapping[str, Any]) -> list[str]:
        """Why this cannot be an input's schema, each as `path: what is wrong`; an empty list when it can."""

    def check_input(self, definition: SagaDefinition, given: object) -> None:
        """Raises InputInvalid, with every fault by its path, when the input does not fit the schema."""


Observer = Callable[[Saga, Sequence[SagaEvent]], None]
"""Told of what was stored, after it was stored: metrics and logs."""
