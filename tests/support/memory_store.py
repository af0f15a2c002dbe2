"""The store in memory: what `SagaStore` promises, without PostgreSQL. Used by the drivers' tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from application.ports import Claimed, Existing, IdempotentRequest, Lease, Refused, Seen
from domain.business_ids import newly_known
from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import SagaEvent
from domain.exceptions import LeaseLost, SagaNotFound
from domain.progress import Origin


@dataclass
class Row:
    definition: SagaDefinition
    origin: Origin
    events: list[SagaEvent]
    request: IdempotentRequest | None
    token: UUID | None
    owner: str | None
    lease_expires_at: datetime | None
    wake_at: datetime | None
    business_ids: set[tuple[str, str]] = field(default_factory=set)
    """(name, value)."""

    @property
    def due_at(self) -> datetime | None:
        return self.lease_expires_at or self.wake_at

    def saga(self) -> Saga:
        return Saga.restore(self.definition, self.origin, self.events)


@dataclass
class MemorySagaStore:
    rows: dict[UUID, Row] = field(default_factory=dict)
    durable: set[UUID] = field(default_factory=set)
    """The sagas that were there when something was last made durable."""
    refused: list[Refused] = field(default_factory=list)
    """Messages that were put aside."""

    def create(
        self, saga: Saga, events: Sequence[SagaEvent], lease: Lease | None, request: IdempotentRequest | None
    ) -> Existing | None:
        if saga.id in self.rows:
            return None
        existing = self.started(saga.origin.tenant, request.key) if request else None
        if existing:
            return existing
        self.rows[saga.id] = Row(
            definition=saga.definition,
            origin=saga.origin,
            events=list(events),
            request=request,
            token=lease.token if lease else None,
            owner=lease.owner if lease else None,
            lease_expires_at=lease.expires_at if lease and not saga.driverless else None,
            wake_at=None if lease and not saga.driverless else saga.wake_at(),
            business_ids=set(newly_known(saga, events).items()),
        )
        return None

    def started(self, tenant: str, key: str) -> Existing | None:
        for row in self.rows.values():
            if row.request and (row.origin.tenant, row.request.key) == (tenant, key):
                return Existing(row.origin.id, row.request.request_hash)
        return None

    def checkpoint(self, saga: Saga, events: Sequence[SagaEvent], lease: Lease) -> None:
        row = self.rows.get(saga.id)
        if row is None or row.token != lease.token:
            raise LeaseLost
        if row.events[-len(events) :] == list(events):
            return
        if len(row.events) != events[0].seq - 1:
            raise LeaseLost
        row.events += events
        row.business_ids |= set(newly_known(saga, events).items())
        row.lease_expires_at = None if saga.driverless else lease.expires_at
        row.wake_at = saga.wake_at() if saga.driverless else None

    def extend(self, saga: Saga, lease: Lease) -> None:
        row = self.rows[saga.id]
        if row.token != lease.token or not row.lease_expires_at or len(row.events) != saga.seq:
            raise LeaseLost
        row.lease_expires_at = lease.expires_at

    def hand_over(self, saga: Saga, lease: Lease) -> None:
        row = self.rows[saga.id]
        if row.token == lease.token and row.lease_expires_at and len(row.events) == saga.seq:
            row.lease_expires_at, row.wake_at = None, saga.wake_at()

    def make_durable(self) -> None:
        self.durable = set(self.rows)

    def load(self, saga_id: UUID) -> Saga:
        if saga_id not in self.rows:
            raise SagaNotFound(f"there is no saga {saga_id}")
        return self.rows[saga_id].saga()

    def load_all(self, ids: Sequence[UUID]) -> dict[UUID, Saga]:
        return {saga_id: self.rows[saga_id].saga() for saga_id in ids if saga_id in self.rows}

    def look(self, saga_id: UUID) -> Seen:
        saga = self.load(saga_id)
        row, unsent = self.rows[saga_id], tuple(each for each in self.refused if each.saga_id == saga_id)
        return Seen(saga, row.owner, row.lease_expires_at, unsent)

    def intervene(self, saga: Saga, events: Sequence[SagaEvent], now: datetime) -> None:
        row = self.rows[saga.id]
        if len(row.events) != events[0].seq - 1 or (row.lease_expires_at and row.lease_expires_at > now):
            raise LeaseLost
        row.events += events
        row.business_ids |= set(newly_known(saga, events).items())
        row.token = row.owner = row.lease_expires_at = None
        row.wake_at = saga.wake_at()

    def next_due(self) -> datetime | None:
        return min((row.due_at for row in self.rows.values() if row.due_at), default=None)

    def claim(self, lease: Lease, now: datetime, limit: int) -> list[Claimed]:
        due = [row for row in self.rows.values() if row.due_at and row.due_at <= now]
        due.sort(key=lambda row: (row.due_at, row.origin.id))
        claimed = []
        for row in due[:limit]:
            claimed.append(Claimed(row.saga(), abandoned=row.lease_expires_at is not None))
            row.token, row.owner, row.lease_expires_at, row.wake_at = lease.token, lease.owner, lease.expires_at, None
        return claimed
