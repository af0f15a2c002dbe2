"""Sagas to store: a workflow of two steps, leases, and a look at everything that a store holds."""

import copy
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection

from application.ports import Lease
from domain.entities import Saga
from domain.events import SagaEvent
from domain.progress import Origin
from tests.support.dialogue import START, step, workflow
from tests.support.memory_store import MemorySagaStore

WORKFLOW = workflow(
    step("a"),
    step("b"),
    name="store_test",
    business_ids={"number": "${input.n}", "receipt": "${steps.a.id}", "both": "${input.n}-${steps.b.id}"},
)
MINUTE = timedelta(minutes=1)


def new_saga(
    tenant: str = "",
    saga_id: UUID | None = None,
    started_at: datetime = START,
    given: Any = None,
    traceparent: str | None = None,
) -> tuple[Saga, list[SagaEvent]]:
    origin = Origin(
        id=saga_id or uuid4(),
        input={"n": 1} if given is None else given,
        correlation_id="correlation",
        started_at=started_at,
        deadline_at=started_at + MINUTE,
        max_retries=3,
        tenant=tenant,
        traceparent=traceparent,
    )
    return Saga.start(WORKFLOW, origin, actor="tester")


def lease(seconds: float = 30, token: UUID | None = None) -> Lease:
    return Lease(token=token or uuid4(), owner="driver", expires_at=START + timedelta(seconds=seconds), seconds=30)


def driven(store: Any, held: Lease | None = None) -> tuple[Saga, Lease]:
    """A stored saga and its driver's lease."""
    held = held or lease()
    saga, events = new_saga()
    assert store.create(saga, events, held, None) is None
    return saga, held


def same(one: Saga, other: Saga) -> bool:
    return one.history == other.history and (one.status, one.state, one.origin) == (
        other.status,
        other.state,
        other.origin,
    )


def everything(store: Any) -> Any:
    """All that is stored, to the last column, to compare."""
    if isinstance(store, MemorySagaStore):
        return copy.deepcopy(store.rows)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM sagas ORDER BY id")
        sagas = cursor.fetchall()
        cursor.execute("SELECT * FROM saga_evenements ORDER BY saga_id, seq")
        events = cursor.fetchall()
        cursor.execute("SELECT * FROM saga_business_ids ORDER BY saga_id, name, value")
        return [(*row[:6], *map(bytes_or_same, row[6:])) for row in sagas], events, cursor.fetchall()


def found_by(store: Any, saga_id: UUID) -> set[tuple[str, str]]:
    """The ids under which the saga is stored to be looked for, each as (name, value)."""
    if isinstance(store, MemorySagaStore):
        return store.rows[saga_id].business_ids
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, value FROM saga_business_ids WHERE saga_id = %s", [saga_id])
        return set(cursor.fetchall())


def bytes_or_same(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
