"""What an order of one line costs on its way to success: calls, round trips, commits, and waits for the disk."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg2
import pytest
from django.db import connection

from application.saga_orchestrator import SagaOrchestrator, StartRequest
from infrastructure import saga_store
from infrastructure.http_participants import HttpParticipants
from saga_service import bootstrap
from tests.support.order_participants import ORDER, participants

WRITES = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
DISK_WAITS = "SELECT fsyncs FROM pg_stat_io WHERE object = 'wal' AND context = 'normal' AND backend_type = %s"


@pytest.fixture
def served(transactional_db: None) -> Iterator[tuple[SagaOrchestrator, list[str]]]:
    bootstrap.definitions().register()
    with participants() as (url, calls):
        services = dict.fromkeys(("inventaire", "catalogue", "commandes"), url)
        with_services = HttpParticipants(services, "key")
        yield replace(bootstrap.engine(), participants=with_services), calls
        with_services._adapter().close()
    connection.close()


@pytest.fixture
def observer(transactional_db: None) -> Iterator[psycopg2.extensions.cursor]:
    """Another session, so that looking costs the order nothing."""
    parameters = connection.get_connection_params()
    wanted = {name: parameters[name] for name in ("host", "port", "dbname", "user", "password") if name in parameters}
    other = psycopg2.connect(**wanted)
    other.autocommit = True
    yield other.cursor()
    other.close()


def place(engine: SagaOrchestrator) -> None:
    saga = engine.start(StartRequest(workflow="commandes", input=ORDER, correlation_id="cost"))
    assert saga.status == "COMPLETED"


def asked(cursor: psycopg2.extensions.cursor, query: str, *parameters: str) -> int:
    cursor.execute(query, parameters)
    return cursor.fetchone()[0]


def flushed_disk_waits(cursor: psycopg2.extensions.cursor) -> int:
    """Waits of ordinary sessions for the log to be on the disk, after the order's own session has reported them."""
    with connection.cursor() as own:
        own.execute("SELECT pg_stat_force_next_flush()")
        own.execute("SELECT 1")
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    return asked(cursor, DISK_WAITS, "client backend")


def test_four_participant_calls(served):
    engine, calls = served
    place(engine)
    assert [call.split()[0] for call in calls] == ["GET", "GET", "POST", "POST"]


def test_five_commits(served, observer):
    engine, _ = served
    place(engine)  # prepares the statements
    before = asked(observer, WRITES)
    place(engine)
    assert asked(observer, WRITES) - before == 5


def test_three_of_them_wait_for_the_disk(served, observer):
    assert asked(observer, "SELECT (current_setting('fsync') = 'on')::int") == 1
    engine, _ = served
    place(engine)
    before = flushed_disk_waits(observer)
    place(engine)
    assert flushed_disk_waits(observer) - before <= 3


def test_five_round_trips(served, monkeypatch):
    engine, _ = served
    place(engine)
    statements = []
    execute = saga_store._execute
    monkeypatch.setattr(
        saga_store, "_execute", lambda name, values: (statements.append(name), execute(name, values))[1]
    )
    place(engine)
    assert statements == ["create_ids", "checkpoint", "checkpoint", "checkpoint", "checkpoint_ids"]


def test_the_waits_come_before_each_effect_and_at_the_end(served, monkeypatch):
    engine, _ = served
    waits = []
    execute = saga_store._execute
    monkeypatch.setattr(
        saga_store, "_execute", lambda name, values: (waits.append(values["sync"]), execute(name, values))[1]
    )
    place(engine)
    assert waits == ["off", "off", "on", "on", "on"]


def test_every_checkpoint_but_the_last_touches_no_index(served, observer):
    """Heap-only updates: an index on anything that changes while a saga runs would end them, partial or not."""
    engine, _ = served
    place(engine)
    before = flushed_updates(observer)
    place(engine)
    updates, heap_only = (now - then for now, then in zip(flushed_updates(observer), before, strict=True))
    assert (updates, heap_only) == (4, 3)


def flushed_updates(cursor: psycopg2.extensions.cursor) -> tuple[int, int]:
    """Updates of `sagas`, and those of them that were heap-only, after the order's own session has reported them."""
    with connection.cursor() as own:
        own.execute("SELECT pg_stat_force_next_flush()")
        own.execute("SELECT 1")
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sagas'")
    return cursor.fetchone()
