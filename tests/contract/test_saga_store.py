"""What every store promises, held against the one in memory and the one in PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from django.db import connection, connections

from application.ports import Existing, IdempotentRequest, Lease
from domain.entities import Saga
from domain.events import SagaEvent
from domain.exceptions import LeaseLost, SagaNotFound, StoreUnavailable
from domain.outcomes import Rejected, Succeeded, Unavailable
from domain.progress import Origin
from infrastructure import saga_store
from infrastructure.definition_store import DefinitionStore
from infrastructure.saga_store import RECONNECT_WAITS, PostgresSagaStore
from tests.support.dialogue import START, step, workflow
from tests.support.memory_store import MemorySagaStore

WORKFLOW = workflow(step("a"), step("b"), name="store_test")
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Any:
    return MemorySagaStore() if request.param == "memory" else request.getfixturevalue("postgres_store")


@pytest.fixture
def postgres_store(transactional_db: None) -> Iterator[PostgresSagaStore]:
    definitions = DefinitionStore([WORKFLOW])
    definitions.register()
    yield PostgresSagaStore(definitions, sleep=lambda _: None)
    connection.close()


def new_saga(tenant: str = "", saga_id: UUID | None = None) -> tuple[Saga, list[SagaEvent]]:
    origin = Origin(
        id=saga_id or uuid4(),
        input={"n": 1},
        correlation_id="correlation",
        started_at=START,
        deadline_at=START + MINUTE,
        max_retries=3,
        tenant=tenant,
    )
    return Saga.start(WORKFLOW, origin, actor="tester")


def lease(seconds: float = 30) -> Lease:
    return Lease(token=uuid4(), owner="driver", expires_at=START + timedelta(seconds=seconds), seconds=30)


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


def test_a_saga_is_read_back_as_it_was_written(store):
    saga, held = driven(store)
    assert same(store.load(saga.id), saga)
    store.checkpoint(saga, saga.record(Succeeded({"text": "é", "list": [1, None, 2.5]}), START), held)
    store.checkpoint(saga, saga.record(Unavailable("busy", retry_after=3), START), held)
    assert same(store.load(saga.id), saga)


def test_an_unknown_saga_is_not_found(store):
    with pytest.raises(SagaNotFound):
        store.load(uuid4())


def test_a_driver_without_the_lease_changes_nothing(store):
    saga, _ = driven(store)
    before = store.load(saga.id)
    events = saga.record(Succeeded(), START)
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, events, lease())
    assert same(store.load(saga.id), before)


def test_a_driver_that_was_replaced_is_fenced_off(store):
    saga, held = driven(store)
    new = lease(90)
    taken = store.claim(new, START + MINUTE, 10)[0].saga
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, saga.record(Rejected("late"), START), held)
    store.checkpoint(taken, taken.record(Succeeded(), START), new)
    assert same(store.load(saga.id), taken)


def test_a_driver_that_is_behind_is_fenced_off(store):
    saga, held = driven(store)
    behind = store.load(saga.id)
    store.checkpoint(saga, saga.record(Succeeded(1), START), held)
    with pytest.raises(LeaseLost):
        store.checkpoint(behind, behind.record(Succeeded(2), START + MINUTE), held)
    assert same(store.load(saga.id), saga)


def test_a_checkpoint_whose_answer_was_lost_can_be_repeated(store):
    saga, held = driven(store)
    events = saga.record(Succeeded(1), START)
    store.checkpoint(saga, events, held)
    store.checkpoint(saga, events, held)
    assert same(store.load(saga.id), saga)


def test_a_saga_with_a_driver_is_not_claimed_before_its_lease_expires(store):
    saga, _ = driven(store)
    assert store.claim(lease(90), START + timedelta(seconds=29), 10) == []
    [claimed] = store.claim(lease(90), START + timedelta(seconds=30), 10)
    assert same(claimed.saga, saga)
    assert claimed.abandoned


def test_a_saga_that_was_handed_over_is_claimed_when_its_call_is_due(store):
    saga, held = driven(store)
    store.checkpoint(saga, saga.record(Unavailable("busy", retry_after=10), START), held)
    store.hand_over(saga, held)
    due_at = saga.wake_at()
    assert store.claim(lease(90), due_at - timedelta(seconds=1), 10) == []
    [claimed] = store.claim(lease(90), due_at, 10)
    assert not claimed.abandoned
    assert store.claim(lease(90), due_at, 10) == []


def test_a_saga_without_a_driver_is_claimed_at_once(store):
    saga, events = new_saga()
    store.create(saga, events, None, None)
    [claimed] = store.claim(lease(), START, 10)
    assert same(claimed.saga, saga)
    assert not claimed.abandoned


def test_a_driver_that_lost_its_lease_cannot_hand_the_saga_over(store):
    saga, held = driven(store)
    store.claim(lease(90), START + MINUTE, 10)
    store.hand_over(saga, held)
    assert store.claim(lease(90), START + MINUTE, 10) == []


def test_a_finished_saga_has_no_driver_and_is_never_claimed(store):
    saga, held = driven(store)
    store.checkpoint(saga, saga.record(Succeeded(), START), held)
    store.checkpoint(saga, saga.record(Succeeded(), START), held)
    assert saga.finished
    assert store.claim(lease(), START + 1000 * MINUTE, 10) == []


def test_a_parked_saga_is_never_claimed(store):
    saga, held = driven(store)
    for outcome in (Succeeded(), Rejected("no"), Rejected("no undo")):
        store.checkpoint(saga, saga.record(outcome, START), held)
    assert saga.status == "STUCK"
    assert store.claim(lease(), START + 1000 * MINUTE, 10) == []


def test_claiming_takes_the_oldest_first_and_no_more_than_it_may(store):
    sagas = [driven(store, lease(seconds))[0] for seconds in (3, 1, 2)]
    claimed = store.claim(lease(90), START + MINUTE, 2)
    assert {one.saga.id for one in claimed} == {sagas[1].id, sagas[2].id}


def test_the_same_idempotency_key_gives_the_first_saga(store):
    request = IdempotentRequest("key-1", b"hash")
    first, events = new_saga()
    assert store.create(first, events, lease(), request) is None
    second, events = new_saga()
    assert store.create(second, events, lease(), request) == Existing(first.id, b"hash")
    with pytest.raises(SagaNotFound):
        store.load(second.id)


def test_another_tenant_has_idempotency_keys_of_its_own(store):
    request = IdempotentRequest("key-1", b"hash")
    for tenant in ("north", "south"):
        saga, events = new_saga(tenant)
        assert store.create(saga, events, lease(), request) is None


def test_a_creation_whose_answer_was_lost_can_be_repeated(store):
    request = IdempotentRequest("key-1", b"hash")
    saga, events = new_saga()
    assert store.create(saga, events, lease(), request) is None
    assert store.create(saga, events, lease(), request) is None


class TestPostgres:
    def test_of_fifty_equal_requests_at_once_one_creates_the_saga(self, postgres_store):
        request = IdempotentRequest("key-1", b"hash")

        def start(_: int) -> Existing | None:
            saga, events = new_saga()
            try:
                return postgres_store.create(saga, events, lease(), request)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(start, range(50)))
        assert answers.count(None) == 1
        assert len({answer.saga_id for answer in answers if answer}) == 1

    def test_workers_that_claim_side_by_side_never_share_a_saga(self, postgres_store):
        expected = {driven(postgres_store)[0].id for _ in range(40)}

        def claim(_: int) -> list[UUID]:
            try:
                return [one.saga.id for one in postgres_store.claim(lease(90), START + MINUTE, 5)]
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            claimed = [saga_id for ids in pool.map(claim, range(16)) for saga_id in ids]
        assert len(claimed) == len(set(claimed))
        claimed += [one.saga.id for one in postgres_store.claim(lease(90), START + MINUTE, 100)]
        assert sorted(claimed) == sorted(expected)

    def test_a_connection_that_was_cut_is_opened_again(self, postgres_store):
        saga, held = driven(postgres_store)
        cut_connection()
        postgres_store.checkpoint(saga, saga.record(Succeeded(), START), held)
        assert same(postgres_store.load(saga.id), saga)

    def test_a_commit_whose_answer_was_lost_is_recognised(self, postgres_store, monkeypatch):
        saga, held = driven(postgres_store)
        execute, lost = saga_store._execute, []

        def execute_and_lose_the_answer(name: str, parameters: dict[str, Any]) -> Any:
            rows = execute(name, parameters)
            if name == "checkpoint" and not lost:
                lost.append(name)
                raise psycopg2.OperationalError("server closed the connection unexpectedly")
            return rows

        monkeypatch.setattr(saga_store, "_execute", execute_and_lose_the_answer)
        for _ in range(2):
            postgres_store.checkpoint(saga, saga.record(Succeeded(), START), held)
        assert saga.finished
        assert same(postgres_store.load(saga.id), saga)

    def test_the_last_commit_whose_answer_was_lost_is_recognised_too(self, postgres_store):
        saga, held = driven(postgres_store)
        postgres_store.checkpoint(saga, saga.record(Succeeded(), START), held)
        events = saga.record(Succeeded(), START)
        postgres_store.checkpoint(saga, events, held)
        postgres_store.checkpoint(saga, events, held)

    def test_a_database_that_stays_away_is_given_up_after_a_bounded_wait(self, postgres_store, monkeypatch):
        waits: list[float] = []

        def never(name: str, parameters: dict[str, Any]) -> Any:
            raise psycopg2.OperationalError("connection refused")

        monkeypatch.setattr(saga_store, "_execute", never)
        monkeypatch.setattr(postgres_store, "_sleep", waits.append)
        with pytest.raises(StoreUnavailable):
            postgres_store.load(uuid4())
        assert tuple(waits) == RECONNECT_WAITS

    def test_a_saga_of_an_unknown_workflow_holds_up_no_other(self, postgres_store):
        saga, _ = driven(postgres_store)
        other = DefinitionStore([workflow(step("a"), name="newer_release")])
        other.register()
        origin = Origin(
            id=uuid4(), input={}, correlation_id="c", started_at=START, deadline_at=START + MINUTE, max_retries=0
        )
        strange, events = Saga.start(other.newest("newer_release"), origin)
        postgres_store.create(strange, events, lease(), None)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE saga_definitions DISABLE TRIGGER ALL")
            cursor.execute("DELETE FROM saga_definitions WHERE name = 'newer_release'")
            cursor.execute("ALTER TABLE saga_definitions ENABLE TRIGGER ALL")
        assert [one.saga.id for one in postgres_store.claim(lease(90), START + MINUTE, 10)] == [saga.id]


def cut_connection() -> None:
    """End this thread's session at the server, as a restart would."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    other = psycopg2.connect(**{name: value for name, value in parameters.items() if name != "context"})
    try:
        other.autocommit = True
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    finally:
        other.close()
