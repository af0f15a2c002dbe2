"""What can be asked of the stored sagas without driving them: lists, counts, and whether the parts work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFilter:
    """Which sagas; None does not filter.

    `q` is an id, a correlation id or a business id, `before` the last id of the page before.
    """

    workflow: str | None = None
    status: str | None = None
    state: str | None = None
    tenant: str | None = None
    correlation_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    active: bool | None = None
    q: str | None = None
    before: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events; `after` is the (saga, seq) at which the page before ended."""

    saga_id: UUID | None = None
    type: str | None = None
    step: str | None = None
    after: tuple[UUID, int] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many sagas there are: `{workflow: {status: n}}`, and of the live ones `{workflow: {state: n}}`."""

    by_status: Mapping[str, Mapping[str, int]]
    live_by_state: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Debt:
    """What parked sagas of a workflow owe to a participant: so many undos, the first of them since then."""

    workflow: str
    service: str
    undos: int
    sagas: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a part works; `detail` is for the person who must make it work."""

    ok: bool
    detail: str | None = None


class SagaQueries(Protocol):
    """The read side. Rows are dictionaries by column; lists are paged by key, never by offset."""

    def sagas(self, chosen: SagaFilter, limit: int) -> list[dict[str, Any]]:
        """Sagas, newest first."""

    def parked(self, limit: int) -> list[dict[str, Any]]:
        """Parked sagas, those first that nothing has happened to for longest."""

    def by_ids(self, ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
        """These sagas, those of them that there are."""

    def outputs(self, ids: Collection[UUID]) -> Mapping[UUID, list[Any]]:
        """What the steps of these sagas gave, and the messages that they sent; nothing of a saga that has none."""

    def count(self, chosen: SagaFilter) -> int:
        """How many sagas there are of these, on all pages."""

    def events(self, chosen: EventFilter, limit: int) -> list[dict[str, Any]]:
        """One saga's events in their order; of all sagas, those of the newest saga first and the newest event first."""

    def counts(self) -> Counts:
        """How many sagas there are."""

    def live_counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many sagas are live: `{workflow: {status: n}}`; as cheap as they are few."""

    def debts(self) -> list[Debt]:
        """What is owed to whom, the most first."""

    def mark(self) -> str:
        """A text that is another one whenever a saga, a remedy, the statistics or the workflows have changed since.

        A worker that says that it is at work, or takes a saga up, changes none of these.
        """

    def standings(self, ids: Collection[UUID]) -> Mapping[UUID, str]:
        """Of each of these sagas that there are, a text that is another one when it or its driver has changed since."""

    def now(self) -> datetime:
        """The time where the sagas are stored."""

    def live(self, workflow: str | None) -> dict[UUID, int]:
        """All that are not finished: of each its id, and how many events it has."""

    def ended(self, workflow: str | None, since: datetime, limit: int) -> list[tuple[UUID, int, datetime]]:
        """Finished sagas, those first that ended first from then on: id, number of events, end."""

    def events_beyond(self, seen: Mapping[UUID, int], since: datetime) -> list[dict[str, Any]]:
        """What happened to these sagas after the events that were seen, and not before that time, in its order.

        A row is an event with its saga's `workflow`.
        """


class Heartbeat(Protocol):
    """Workers say that they are at work."""

    def beat(self, name: str, started_at: datetime, now: datetime) -> None:
        """Report that the worker is at work."""

    def forget(self, name: str, now: datetime) -> None:
        """Take a worker that stops off the list."""
