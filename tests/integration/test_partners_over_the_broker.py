"""Partners over a real broker: the published example; and five hundred while the broker is killed in their midst: none
lost, none twice, all told in order."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection

from application.ports import Message, Verdict
from application.saga_orchestrator import StartRequest
from devstack import broker
from domain.events import SagaStatus
from infrastructure.models import OutboxRow, SagaRow
from infrastructure.pulsar_bus import PulsarSubscriber
from infrastructure.saga_store import PostgresSagaStore
from saga_service import bootstrap
from tests.contract.api_support import Api, MovedClock, Scripted
from tests.contract.examples_support import PARTNER_STARTED, PARTNER_STATUS, START_PARTNER, curl, same_shape
from tests.contract.participants_support import Participant, running

ROOT = Path(__file__).parents[2]
PARTNERS = 500
REFUSED = 10
"""Of a hundred, so many whose alliance is refused."""
PATIENCE = 90.0
"""Seconds after which the test gives up; it takes some fifteen."""


@pytest.fixture
def directory() -> Iterator[Path]:
    short = Path(tempfile.mkdtemp(prefix="partners-"))
    yield short
    broker.kill(short / "broker")
    shutil.rmtree(short, ignore_errors=True)


@pytest.fixture
def engine(transactional_db: None) -> Iterator[object]:
    bootstrap.definitions().register()
    store = PostgresSagaStore(bootstrap.definitions(), events_topic=bootstrap.EVENTS_TOPIC)
    yield replace(bootstrap.engine(), store=store, broker=True)
    connection.close()


class Events:
    """Who listens to `saga-events` from the first one on."""

    def __init__(self, url: str) -> None:
        self.heard: dict[str, list[int]] = defaultdict(list)
        self._stop = threading.Event()
        arguments = [[bootstrap.EVENTS_TOPIC], "audit", self._note, self._stop]
        self._thread = threading.Thread(target=PulsarSubscriber(url).consume, args=arguments)
        self._thread.start()

    def _note(self, message: Message) -> Verdict:
        body = json.loads(message.body)
        if body["seq"] not in self.heard[body["saga_id"]]:  # at least once: what has been seen is dropped
            self.heard[body["saga_id"]].append(body["seq"])
        return Verdict.DONE

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def worker(url: str, integraciones: Participant) -> Iterator[None]:
    environment = {
        **os.environ,
        "BROKER_URL": url,
        "INTEGRACIONES_API_URL": integraciones.url,
        "DJANGO_SETTINGS_MODULE": "saga_service.settings",
        "DATABASE_URL": "postgresql://{USER}@{HOST}:{PORT}/{NAME}".format(**connection.settings_dict),
    }
    command = [sys.executable, "manage.py", "saga_worker", "--poll", "0.2"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def until(reached: int) -> None:
    """Wait until so many sagas have ended."""
    end = time.monotonic() + PATIENCE
    while SagaRow.objects.filter(finished_at__isnull=False).count() < reached:
        assert time.monotonic() < end, list(SagaRow.objects.values_list("status", "state").distinct())
        time.sleep(0.05)


def test_no_partner_is_lost_and_no_alliance_made_twice_when_the_broker_is_killed(engine, directory):
    url = broker.ensure_running(directory / "broker")
    with ExitStack() as stack:
        integraciones = stack.enter_context(running("integraciones", directory, "--broker", url))
        alianzas = stack.enter_context(running("alianzas", directory, "--broker", url, "--faults"))
        events = Events(url)
        stack.callback(events.stop)
        refusal = {"fault": "rejected", "match": {"path": "CreateAlliance"}, "rate": REFUSED / 100, "seed": 1}
        assert alianzas.call("POST", "/_faults", refusal).ok
        for number in range(PARTNERS):
            engine.start(
                StartRequest(
                    workflow="partner_creation",
                    input={
                        "nombre": f"Partner {number}",
                        "email": f"partner-{number}@example.com",
                        "telefono": "+1234567890",
                        "direccion": "123 Main Street",
                    },
                    correlation_id=f"partner-{number}",
                    wait=0,
                )
            )
        stack.enter_context(worker(url, integraciones))
        until(PARTNERS // 5)
        broker.kill(directory / "broker")
        assert SagaRow.objects.filter(finished_at__isnull=True).exists(), "it was killed too late"
        broker.ensure_running(directory / "broker")
        until(PARTNERS)
        end = time.monotonic() + PATIENCE
        while OutboxRow.objects.exists() or any(
            len(events.heard[str(row.id)]) < row.seq for row in SagaRow.objects.only("id", "seq")
        ):
            assert time.monotonic() < end, "events are missing"
            time.sleep(0.1)

        sagas = {str(row.id): row for row in SagaRow.objects.all()}
        assert {row.status for row in sagas.values()} == {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}
        for saga_id, row in sagas.items():
            assert events.heard[saga_id] == list(range(1, row.seq + 1)), "every event, in order"
        _check_ledgers(sagas, integraciones, alianzas)


@contextmanager
def everything(directory: Path) -> Iterator[tuple[Participant, Participant]]:
    """The broker, both participants and a worker."""
    url = broker.ensure_running(directory / "broker")
    with ExitStack() as stack:
        integraciones = stack.enter_context(running("integraciones", directory, "--broker", url))
        alianzas = stack.enter_context(running("alianzas", directory, "--broker", url))
        stack.enter_context(worker(url, integraciones))
        yield integraciones, alianzas


def test_the_published_example_creates_the_partner_and_its_alliance(engine, directory, monkeypatch):
    built = bootstrap.platform()
    monkeypatch.setattr(bootstrap, "platform", lambda: replace(built, engine=engine))
    api = Api(Scripted(), MovedClock())  # neither is used: the services and the worker are real
    with everything(directory) as services:
        started = curl(api, START_PARTNER).json()
        saga_id = started["saga_id"]
        same_shape(started, PARTNER_STARTED)
        assert started["status"] == "started"
        until(1)
        shown = curl(api, f"curl http://localhost:5003/api/v1/saga/status/{saga_id}").json()
        same_shape(shown, PARTNER_STATUS)
        assert shown["saga"]["status"] == "completed"
        assert shown["saga"]["partner_id"]
        assert shown["saga"]["alliance_id"]
        _check_ledgers({saga_id: SagaRow.objects.get(id=saga_id)}, *services)
        assert curl(api, "curl http://localhost:5003/api/v1/saga/active").json()["total"] == 0


def _check_ledgers(sagas: dict[str, SagaRow], *services: Participant) -> None:
    """A completed saga has one partner and one alliance; one that was undone has neither left."""
    for service in services:
        made: dict[str, list[str]] = defaultdict(list)
        for effect in service.get("/_ledger")["effects"]:
            made[effect["saga_id"]].append(effect["operation"])
        assert set(made) <= set(sagas)
        for saga_id, row in sagas.items():
            done = made.get(saga_id, [])
            if row.status == SagaStatus.COMPLETED:
                assert done == ["do"], (service.name, saga_id, done)
            else:
                assert done in ([], ["do", "undo"]), (service.name, saga_id, done)
