"""The store in PostgreSQL: many at once, connections that break, answers that are lost, a database that is away."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from django.db import connection, connections

from application.ports import Existing, IdempotentRequest
from devstack.processes import free_port
from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.exceptions import DefinitionUnreadable, LeaseLost, StoreUnavailable, WorkflowUnknown
from domain.outcomes import Succeeded
from domain.progress import Origin
from infrastructure import saga_store
from infrastructure.definition_store import DefinitionStore
from infrastructure.saga_store import RECONNECT_WAITS, PostgresSagaStore
from tests.support.dialogue import START, step, workflow
from tests.support.stored_sagas import MINUTE, WORKFLOW, driven, everything, lease, new_saga, same

REQUEST = IdempotentRequest("key-1", b"hash")


@pytest.fixture
def waits() -> list[float]:
    """How long the store waited for the database each time; no test does."""
    return []


@pytest.fixture
def store(transactional_db: None, waits: list[float]) -> Iterator[PostgresSagaStore]:
    definitions = DefinitionStore([WORKFLOW])
    definitions.register()
    yield PostgresSagaStore(definitions, sleep=waits.append)
    connection.close()


def at_once(count: int, call: Callable[[], Any]) -> list[Any]:
    """What each of `count` threads got, or the SagaError; all begin together, each on a connection of its own."""
    gate = threading.Barrier(count, timeout=30)

    def run(_: int) -> Any:
        try:
            connection.ensure_connection()
            gate.wait()
            return call()
        except LeaseLost as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def counted(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def cut_connection() -> None:
    """End this thread's session at the server, as a restart would."""
    parameters = connection.get_connection_params()
    wanted = {name: parameters[name] for name in ("host", "port", "dbname", "user", "password") if name in parameters}
    other = psycopg2.connect(**wanted)
    try:
        other.autocommit = True
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.connection.info.backend_pid,))
            assert cursor.fetchone() == (True,)
    finally:
        other.close()


@pytest.fixture
def lose_the_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Makes the server end the session when the next statement of this name, whatever its parts, has committed, before
    that is known."""

    def arrange(wanted: str) -> list[str]:
        execute, lost = saga_store._execute, []

        def execute_and_be_cut_off(name: str, parameters: dict[str, Any]) -> Any:
            rows = execute(name, parameters)
            if name.removesuffix("_ids") == wanted and not lost:
                lost.append(wanted)
                cut_connection()
                execute(name, parameters)  # finds the connection gone, as whoever waits for the answer does
                raise AssertionError("the connection was not cut")
            return rows

        monkeypatch.setattr(saga_store, "_execute", execute_and_be_cut_off)
        return lost

    return arrange


# --- many at once ---------------------------------------------------------------------------------------------------


def test_of_fifty_equal_requests_at_once_one_creates_the_saga(store):
    def start() -> Existing | None:
        saga, events = new_saga()
        return store.create(saga, events, lease(), REQUEST)

    answers = at_once(50, start)
    assert answers.count(None) == 1
    assert len({answer.saga_id for answer in answers if answer}) == 1
    assert (counted("sagas"), counted("saga_evenements")) == (1, 2)


def test_workers_that_claim_side_by_side_never_share_a_saga(store):
    expected = {driven(store)[0].id for _ in range(60)}
    answers = at_once(8, lambda: [one.saga.id for _ in range(2) for one in store.claim(lease(90), START + MINUTE, 5)])
    claimed = [saga_id for ids in answers for saga_id in ids]
    assert len(claimed) == len(set(claimed))
    claimed += [one.saga.id for one in store.claim(lease(90), START + MINUTE, 100)]
    assert sorted(claimed) == sorted(expected)


def test_one_of_two_drivers_at_once_moves_the_saga_and_the_other_is_told(store):
    saga, held = driven(store)
    copies = [store.load(saga.id) for _ in range(8)]

    def move() -> Any:
        mine = copies.pop()
        return store.checkpoint(mine, mine.record(Succeeded(str(uuid4())), START), held)

    answers = at_once(8, move)
    assert answers.count(None) == 1
    assert sum(isinstance(answer, LeaseLost) for answer in answers) == 7
    assert store.load(saga.id).seq == counted("saga_evenements") == 4


def test_a_checkpoint_repeated_while_its_first_sending_still_runs_lands_once(store):
    saga, held = driven(store)
    events = saga.record(Succeeded(1), START)
    assert at_once(8, lambda: store.checkpoint(saga, events, held)) == [None] * 8
    assert same(store.load(saga.id), saga)


# --- connections that break -----------------------------------------------------------------------------------------


def test_a_connection_that_was_cut_is_opened_again(store, waits):
    saga, held = driven(store)
    cut_connection()
    store.checkpoint(saga, saga.record(Succeeded(), START), held)
    assert same(store.load(saga.id), saga)
    assert waits == [RECONNECT_WAITS[0]]


@pytest.mark.parametrize("last", [False, True], ids=["on its way", "at its end"])
def test_a_checkpoint_that_committed_although_its_answer_was_lost_is_recognised(store, lose_the_answer, last):
    saga, held = driven(store)
    if last:
        store.checkpoint(saga, saga.record(Succeeded(), START), held)
    lost = lose_the_answer("checkpoint")
    store.checkpoint(saga, saga.record(Succeeded(), START), held)
    assert lost == ["checkpoint"]
    assert saga.finished is last
    assert same(store.load(saga.id), saga)


@pytest.mark.parametrize("request_", [REQUEST, None], ids=["with a key", "without a key"])
def test_a_creation_that_committed_although_its_answer_was_lost_is_recognised(store, lose_the_answer, request_):
    saga, events = new_saga()
    lost = lose_the_answer("create")
    assert store.create(saga, events, lease(), request_) is None
    assert lost == ["create"]
    assert same(store.load(saga.id), saga)


def test_a_hand_over_that_committed_although_its_answer_was_lost_is_done_once(store, lose_the_answer):
    saga, held = driven(store)
    lost = lose_the_answer("hand_over")
    store.hand_over(saga, held)
    assert lost == ["hand_over"]
    assert [one.abandoned for one in store.claim(lease(90), START, 10)] == [False]


def test_sagas_claimed_by_an_answer_that_was_lost_come_back_when_that_lease_expires(store, lose_the_answer):
    saga, _ = driven(store)
    lost = lose_the_answer("claim")
    assert store.claim(lease(90), START + MINUTE, 10) == []
    assert lost == ["claim"]
    [claimed] = store.claim(lease(180), START + timedelta(seconds=90), 10)
    assert same(claimed.saga, saga)


CALLS: dict[str, Callable[[PostgresSagaStore, Saga, Any], Any]] = {
    "create": lambda store, _, held: store.create(*new_saga(), held, None),
    "checkpoint": lambda store, saga, held: store.checkpoint(saga, saga.record(Succeeded(), START), held),
    "hand_over": lambda store, saga, held: store.hand_over(saga, held),
    "claim": lambda store, _, held: store.claim(held, START + MINUTE, 10),
    "load": lambda store, saga, _: store.load(saga.id),
    "started": lambda store, saga, _: store.started("", "key-1"),
    "make_durable": lambda store, saga, _: store.make_durable(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_database_that_stays_away_is_given_up_after_a_bounded_wait_with_nothing_done(store, waits, call, monkeypatch):
    saga, held = driven(store)
    before = everything(store)
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "PORT", free_port())
        with pytest.raises(StoreUnavailable):
            call(store, saga, held)
    assert tuple(waits) == RECONNECT_WAITS
    assert sum(waits) < 5
    assert everything(store) == before


def test_a_database_that_comes_back_in_time_is_not_missed(store, waits, monkeypatch):
    saga, held = driven(store)
    port = connection.settings_dict["PORT"]
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", free_port())

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            connection.settings_dict["PORT"] = port

    monkeypatch.setattr(store, "_sleep", wait)
    store.checkpoint(saga, saga.record(Succeeded(), START), held)
    monkeypatch.undo()
    assert len(waits) == 3
    assert same(store.load(saga.id), saga)


# --- what another release wrote -------------------------------------------------------------------------------------


def stored_by_another_release(definition: SagaDefinition) -> UUID:
    definitions = DefinitionStore([definition])
    definitions.register()
    origin = Origin(
        id=uuid4(), input={}, correlation_id="c", started_at=START, deadline_at=START + MINUTE, max_retries=0
    )
    saga, events = Saga.start(definition, origin)
    PostgresSagaStore(definitions).create(saga, events, lease(0), None)
    return saga.id


def forget_definitions(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE saga_definitions DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM saga_definitions WHERE name = %s", [name])
        cursor.execute("ALTER TABLE saga_definitions ENABLE TRIGGER USER")


@pytest.mark.parametrize("known", [[], [workflow(step("z"), name="other")]], ids=["no workflow", "no such step"])
def test_a_saga_that_cannot_be_read_here_holds_up_no_other(store, known):
    strange = stored_by_another_release(workflow(step("a"), name="other"))
    forget_definitions("other")
    saga, _ = driven(store)
    older = PostgresSagaStore(DefinitionStore([WORKFLOW, *known]))
    assert [one.saga.id for one in older.claim(lease(90), START + MINUTE, 10)] == [saga.id]
    with pytest.raises(LookupError if known else WorkflowUnknown):
        older.load(strange)


def test_a_saga_of_a_release_that_knew_no_traces_is_a_trace_of_its_own(store):
    """And what a later release keeps beside the input is left alone, as that one left the trace alone."""
    saga, _ = driven(store)
    with connection.cursor() as cursor:
        cursor.execute("SELECT array_agg(name) FROM sagas, jsonb_object_keys(data) AS name WHERE id = %s", [saga.id])
        assert set(cursor.fetchone()[0]) == {"input", "max_retries"}
        cursor.execute("UPDATE sagas SET data = data || '{\"later\": 1}' WHERE id = %s", [saga.id])
    assert store.load(saga.id).origin.traceparent is None


def test_a_saga_of_a_definition_with_a_later_releases_field_is_left_to_that_release(store):
    strange = stored_by_another_release(workflow(step("a"), name="other"))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE saga_definitions DISABLE TRIGGER USER")
        later = """jsonb_set(content, '{steps,0,only_when}', '"${input.vip}"')"""
        cursor.execute(f"UPDATE saga_definitions SET content = {later} WHERE name = 'other'")
        cursor.execute("ALTER TABLE saga_definitions ENABLE TRIGGER USER")
    saga, _ = driven(store)
    assert [one.saga.id for one in store.claim(lease(90), START + MINUTE, 10)] == [saga.id]
    with pytest.raises(DefinitionUnreadable, match=r"does not know steps\[0\].only_when; a later one stored it"):
        store.load(strange)
    assert counted("saga_evenements") == 4
