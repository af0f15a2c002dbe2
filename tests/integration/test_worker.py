"""The worker as a real process: it takes up what nobody drives, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from application.bulk import Bulk
from application.queries import SagaFilter
from application.saga_orchestrator import SagaOrchestrator, StartRequest
from application.statistics import EPOCH, EVER
from domain.calls import Task
from domain.entities import Saga
from domain.events import EventType
from domain.outcomes import Rejected, Reply, Succeeded
from infrastructure.models import RollupDueRow, WorkerRow
from saga_service import bootstrap
from tests.support.driving import Crash
from tests.support.order_participants import ANSWERS, ORDER, participants

ROOT = Path(__file__).parents[2]
DEADLINE = 30.0
"""Seconds after which a test gives up; what it waits for takes one or two."""


@pytest.fixture
def engine(transactional_db: None) -> Iterator[SagaOrchestrator]:
    """An engine on the database of the worker, whose own calls always die."""
    bootstrap.definitions().register()
    yield replace(bootstrap.engine(), participants=DyingParticipants(), lease_seconds=1.0)
    connection.close()


class DyingParticipants:
    def call_all(self, tasks: Sequence[Task]) -> Iterator[Any]:
        raise Crash
        yield


@contextmanager
def worker(url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    database = connection.settings_dict
    environment = {
        **os.environ,
        **dict.fromkeys(("INVENTAIRE_URL", "CATALOGUE_URL", "COMMANDES_URL"), url),
        "DJANGO_SETTINGS_MODULE": "saga_service.settings",
        "DATABASE_URL": "postgresql://{USER}@{HOST}:{PORT}/{NAME}".format(**database),
    }
    command = [sys.executable, "manage.py", "saga_worker", "--poll", "0.05", *options]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def stub() -> Iterator[tuple[str, list[str]]]:
    with participants() as served:
        yield served


def until(condition: Callable[[], Any]) -> Any:
    """The first true answer; asked again and again until the deadline."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def ended(engine: SagaOrchestrator, saga_id: UUID) -> Saga:
    return until(lambda: (saga := engine.store.load(saga_id)).resting and saga)


def order(wait: float = 0) -> StartRequest:
    return StartRequest(workflow="commandes", input=ORDER, correlation_id="worker-test", wait=wait)


def test_a_saga_that_nobody_waits_for_is_driven_to_its_end(engine, stub):
    saga = engine.start(order())
    with worker(stub[0]):
        assert ended(engine, saga.id).status == "COMPLETED"
    assert len(stub[1]) == 4


def test_a_saga_whose_driver_died_is_taken_over_when_its_lease_expires(engine, stub):
    with pytest.raises(Crash):
        engine.start(order(wait=25))
    [saga_id] = [row["id"] for row in bootstrap.platform().queries.sagas(SagaFilter(active=True), 10)]
    with worker(stub[0]) as process:
        saga = ended(engine, saga_id)
        assert saga.status == "COMPLETED"
        taken = [event.actor for event in saga.history if event.type is EventType.DRIVER_REPLACED]
        assert taken[0].endswith(f":{process.pid}")


def test_workers_count_every_ending_once(engine, stub):
    sagas = [engine.start(order()) for _ in range(5)]
    statistics = bootstrap.platform().statistics
    with worker(stub[0]), worker(stub[0]):
        for saga in sagas:
            ended(engine, saga.id)
        until(lambda: statistics.ended(EVER, EPOCH) == {"commandes": {"COMPLETED": len(sagas)}})
    assert not RollupDueRow.objects.exists()


def test_several_workers_share_the_work_and_no_saga_is_driven_twice(engine, stub):
    sagas = [engine.start(order()) for _ in range(20)]
    with worker(stub[0]), worker(stub[0]):
        assert {ended(engine, saga.id).status for saga in sagas} == {"COMPLETED"}
    assert len(stub[1]) == 20 * 4


def test_a_worker_reports_and_stops_in_order_when_it_is_told_to(engine, stub):
    with worker(stub[0]) as process:
        until(lambda: WorkerRow.objects.filter(name__endswith=f":{process.pid}").exists())
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    assert not WorkerRow.objects.exists()


def test_new_work_wakes_a_worker_at_once(engine, stub):
    with worker(stub[0], "--poll", "10"):
        until(listening)
        begun = time.monotonic()
        saga = engine.start(order())
        assert ended(engine, saga.id).status == "COMPLETED"
    assert time.monotonic() - begun < 5, "it waited for its next look"


def test_a_retry_is_taken_up_when_it_is_due(engine, stub):
    with worker(stub[0], "--poll", "10"):
        until(listening)
        begun = time.monotonic()
        with pytest.raises(Crash):
            engine.start(order(wait=25))  # its lease ends after a second
        [saga_id] = [row["id"] for row in bootstrap.platform().queries.sagas(SagaFilter(active=True), 10)]
        with connection.cursor() as cursor:
            cursor.execute("NOTIFY saga_due")
        assert ended(engine, saga_id).status == "COMPLETED"
    assert 1 <= time.monotonic() - begun < 6, "it came too early, or waited for its next look"


def test_a_worker_that_is_told_to_stop_finishes_its_call_and_hands_the_saga_back(engine):
    hold = threading.Event()
    with participants(hold) as (url, calls), worker(url) as process:
        saga = engine.start(order())
        until(lambda: calls)
        process.send_signal(signal.SIGTERM)
        assert any("worker stopping" in line for line in process.stderr)
        hold.set()
        assert process.wait(DEADLINE) == 0
    left = engine.store.look(saga.id)
    assert left.driven_until is None
    assert [event.step for event in left.saga.history if event.outcome == "succeeded"] == ["verification_stock"]


def listening() -> bool:
    """Whether a worker has looked once, and waits for notices: none is lost from then on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN saga_due' AND state = 'idle'")
        return bool(cursor.fetchone()[0])


def test_a_group_of_parked_sagas_is_remedied_by_a_worker(engine, stub):
    refusing = replace(engine, participants=Refusing())
    sagas = [refusing.start(order(wait=25)) for _ in range(3)]
    assert {saga.status for saga in sagas} == {"STUCK"}
    bulk = bootstrap.platform().bulk
    [group] = bulk.failures(10)
    remedy = bulk.begin(
        Bulk(
            id=bootstrap.new_id(),
            group=group.id,
            verb="retry",
            reason="the stock is back",
            actor="anna",
            per_second=100,
            created_at=engine.clock.now(),
        )
    )
    with worker(stub[0]):
        until(lambda: bulk.load(remedy.id).finished_at)
        assert {ended(engine, saga.id).status for saga in sagas} == {"COMPENSATED"}
    assert bulk.load(remedy.id).done == 3


class Refusing:
    """The order is refused, and so is the release of its stock."""

    def call_all(self, tasks: Sequence[Task]) -> Iterator[Any]:
        for task in tasks:
            refused = task.step == "creation_commande" or task.attempt.action == "undo"
            word = [word for word in task.path.split("/") if word in ANSWERS][-1]
            yield task, Reply(Rejected("no") if refused else Succeeded(ANSWERS[word]))
