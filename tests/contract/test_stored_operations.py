"""A person acts on stored sagas: fenced against drivers and other people, made due at once, shown before it is done."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection

from application.operations import Operations
from domain.entities import Saga
from domain.events import EventType
from domain.exceptions import LeaseLost, NotAllowed, SagaDriven, SagaNotFound
from domain.outcomes import Rejected, Succeeded, Unavailable
from infrastructure.definition_store import DefinitionStore
from infrastructure.saga_store import PostgresSagaStore
from tests.support.dialogue import ANNA, START
from tests.support.driving import Bench
from tests.support.memory_store import MemorySagaStore
from tests.support.stored_sagas import MINUTE, WORKFLOW, driven, everything, found_by, lease, new_saga, same


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Any:
    return MemorySagaStore() if request.param == "memory" else request.getfixturevalue("postgres_store")


@pytest.fixture
def postgres_store(transactional_db: None) -> Iterator[PostgresSagaStore]:
    definitions = DefinitionStore([WORKFLOW])
    definitions.register()
    yield PostgresSagaStore(definitions, sleep=lambda _: None)
    connection.close()


@pytest.fixture
def operations(store: Any) -> Operations:
    return Operations(replace(Bench(WORKFLOW).engine, store=store))


def waiting(store: Any) -> Saga:
    """A saga that waits ten seconds for its next attempt, without a driver."""
    saga, held = driven(store)
    store.checkpoint(saga, saga.record(Unavailable("busy", retry_after=10), START), held)
    store.hand_over(saga, held)
    return saga


def test_what_a_person_did_is_stored_and_due_at_once(store, operations):
    saga = waiting(store)
    acted = operations.act(saga.id, Saga.retry, ANNA)
    assert same(store.load(saga.id), acted)
    [claimed] = store.claim(lease(), START, 10)
    assert same(claimed.saga, acted)
    assert not claimed.abandoned


def test_an_id_that_a_person_supplied_is_stored_with_the_act(store, operations):
    saga = waiting(store)
    operations.act(saga.id, partial(Saga.skip, step="a", output={"id": "by hand"}), ANNA)
    assert found_by(store, saga.id) == {("number", "1"), ("receipt", "by hand")}


def test_a_saga_that_is_driven_is_left_to_its_driver(store, operations):
    saga, _ = driven(store, lease(20))
    before = everything(store)
    with pytest.raises(SagaDriven, match="The driver driver owns this saga, until 2026-01-31T12:00:20"):
        operations.act(saga.id, Saga.compensate, ANNA)
    assert everything(store) == before


def test_a_driver_that_vanished_is_replaced_first(store, operations):
    saga, held = driven(store, lease(20))
    operations.engine.clock.sleep(20)
    acted = operations.act(saga.id, Saga.compensate, ANNA)
    assert [event.type for event in acted.history[2:4]] == [EventType.DRIVER_REPLACED, EventType.COMPENSATION_REQUESTED]
    assert [task.key.rpartition(":")[2] for task in acted.next_tasks(START + MINUTE)] == ["undo"]
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, saga.record(Succeeded(), START), held)


def test_who_is_slower_decides_again_on_what_the_faster_one_left(store, operations):
    saga = waiting(store)
    decided = []

    def while_another_pauses(seen: Saga, by: Any, now: Any) -> Any:
        if not decided:
            operations.act(saga.id, Saga.pause, ANNA)
        decided.append(seen.status)
        return seen.compensate(by, now)

    acted = operations.act(saga.id, while_another_pauses, ANNA)
    assert decided == ["RUNNING", "PAUSED"]
    assert same(store.load(saga.id), acted)


def test_a_claim_between_look_and_act_wins(store, operations):
    saga = waiting(store)

    def while_a_worker_claims(seen: Saga, by: Any, now: Any) -> Any:
        store.claim(lease(90), START + timedelta(seconds=10), 1)
        return seen.compensate(by, now)

    with pytest.raises(SagaDriven):
        operations.act(saga.id, while_a_worker_claims, ANNA)


def test_again_changes_nothing(store, operations):
    saga = waiting(store)
    operations.act(saga.id, Saga.pause, ANNA)
    before = everything(store)
    assert operations.act(saga.id, Saga.pause, ANNA).status == "PAUSED"
    assert everything(store) == before


def test_what_is_refused_changes_nothing(store, operations):
    saga = waiting(store)
    before = everything(store)
    with pytest.raises(NotAllowed):
        operations.act(saga.id, Saga.resume, ANNA)
    with pytest.raises(SagaNotFound):
        operations.act(new_saga()[0].id, Saga.retry, ANNA)
    assert everything(store) == before


def test_a_completed_saga_is_undone(store, operations):
    saga, held = driven(store)
    for _ in range(2):
        store.checkpoint(saga, saga.record(Succeeded(), START), held)
    assert saga.status == "COMPLETED"
    operations.act(saga.id, Saga.compensate, ANNA)
    assert len(store.claim(lease(), START, 10)) == 1
    assert store.load(saga.id).finished_at is None


@pytest.mark.parametrize("end", ["completed", "compensated"])
def test_a_parked_saga_is_resolved(store, operations, end):
    saga, held = driven(store)
    for outcome in (Succeeded(), Rejected("no"), Rejected("no undo")):
        store.checkpoint(saga, saga.record(outcome, START), held)
    assert saga.status == "STUCK"
    acted = operations.act(saga.id, lambda seen, by, now: seen.resolve(by, now, end), ANNA)
    assert acted.status == end.upper()
    assert same(store.load(saga.id), acted)


def test_a_preview_says_what_would_go_out_and_stores_nothing(store, operations):
    saga = waiting(store)
    before = everything(store)
    shown = operations.preview(saga.id, Saga.retry, ANNA)
    assert [getattr(call, "path", None) or call[1].path for call in shown.calls] == ["/a", "/b"]
    assert shown.saga.history[-1].type is EventType.RETRY_REQUESTED
    assert everything(store) == before
