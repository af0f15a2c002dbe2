"""The stores in memory and in PostgreSQL are twins: whatever is asked of them, in any order, they answer the same."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.ports import IdempotentRequest, Lease
from domain.entities import Saga
from domain.events import SagaEvent
from domain.exceptions import LeaseLost
from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from infrastructure.definition_store import DefinitionStore
from infrastructure.saga_store import PostgresSagaStore
from tests.support.dialogue import START
from tests.support.memory_store import MemorySagaStore
from tests.support.stored_sagas import WORKFLOW, found_by, new_saga

OUTCOMES = [Succeeded({"id": 1}), Succeeded({"id": "x"}), Rejected("no"), Unavailable("busy", 7), Unknown("silence")]
COMMANDS = ["create", "create again", "checkpoint", "checkpoint", "checkpoint again", "hand over", "claim", "claim"]
SCRIPTS = st.lists(st.tuples(st.sampled_from(COMMANDS), st.integers(0, 9), st.integers(0, 40)), max_size=25)


@pytest.fixture
def postgres_store(transactional_db: None) -> Iterator[PostgresSagaStore]:
    definitions = DefinitionStore([WORKFLOW])
    definitions.register()
    yield PostgresSagaStore(definitions)
    connection.close()


@dataclass
class Driver:
    """Whoever owns, or once owned, a saga: its copy of it, its lease, and what it last wrote."""

    saga: Saga
    lease: Lease | None
    events: list[SagaEvent]
    request: IdempotentRequest | None = None


@dataclass
class Play:
    """One run of a script against one store. `trace` is all that the store answered."""

    store: Any
    drivers: list[Driver] = field(default_factory=list)
    trace: list[Any] = field(default_factory=list)
    number: int = 0

    def run(self, script: list[tuple[str, int, int]]) -> list[Any]:
        for self.number, (command, which, value) in enumerate(script, start=1):
            act = getattr(self, "_" + command.replace(" ", "_"))
            if command in {"create", "claim"}:
                act(which, value)
            elif self.drivers:
                act(self.drivers[which % len(self.drivers)], value)
        sagas = {driver.saga.id for driver in self.drivers}
        return [
            self.trace,
            {saga_id: (self.store.load(saga_id).history, found_by(self.store, saga_id)) for saga_id in sagas},
        ]

    def _now(self, seconds: float = 0) -> datetime:
        """No two moments of a script are the same: the order of what is due at the same time is nobody's promise."""
        return START + timedelta(seconds=seconds, milliseconds=self.number)

    def _lease(self, seconds: float) -> Lease:
        return Lease(token=UUID(int=self.number), owner="d", expires_at=self._now(seconds), seconds=30)

    def _create(self, which: int, value: int) -> None:
        saga, events = new_saga(f"tenant-{which % 2}", UUID(int=1000 + self.number), self._now())
        request = IdempotentRequest(f"key-{which % 4}", bytes([value])) if which % 3 else None
        driver = Driver(saga, self._lease(value) if value % 4 else None, events, request)
        existing = self.store.create(saga, events, driver.lease, request)
        self.trace.append(existing)
        if existing is None:
            self.drivers.append(driver)

    def _create_again(self, driver: Driver, _: int) -> None:
        if driver.saga.seq == len(driver.events):  # nothing has followed
            self.trace.append(self.store.create(driver.saga, driver.events, driver.lease, driver.request))

    def _checkpoint(self, driver: Driver, value: int) -> None:
        if driver.lease and not driver.saga.resting:
            outcome = OUTCOMES[value % len(OUTCOMES)]
            driver.events = driver.saga.record(outcome, self._now())
            driver.lease = Lease(
                token=driver.lease.token, owner="d", expires_at=self._now(value), seconds=driver.lease.seconds
            )
            self._checkpoint_again(driver, value)

    def _checkpoint_again(self, driver: Driver, _: int) -> None:
        if driver.lease and driver.events and driver.events[0].seq > 1:
            try:
                self.trace.append(self.store.checkpoint(driver.saga, driver.events, driver.lease))
            except LeaseLost:
                self.trace.append("lease lost")

    def _hand_over(self, driver: Driver, _: int) -> None:
        if driver.lease and not driver.saga.resting:
            self.store.hand_over(driver.saga, driver.lease)

    def _claim(self, _: int, value: int) -> None:
        lease = self._lease(value + 10)
        claimed = self.store.claim(lease, self._now(value), 1)  # sagas claimed together would be due together again
        self.trace.append([(one.saga.id, one.abandoned, one.saga.history) for one in claimed])
        self.drivers += [Driver(one.saga, lease, []) for one in claimed]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=SCRIPTS)
def test_whatever_is_asked_of_them_they_answer_the_same(postgres_store, script):
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE sagas, saga_evenements, saga_business_ids")
    assert Play(postgres_store).run(script) == Play(MemorySagaStore()).run(script)
