"""PostgreSQL crashes: what a client was told of is still there, and what nobody was told of may be lost."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import connection

from application.ports import IdempotentRequest
from application.saga_orchestrator import SagaOrchestrator, StartRequest
from devstack import postgres
from domain.entities import Saga
from domain.exceptions import SagaNotFound
from domain.progress import Origin
from domain.workflows.commandes import COMMANDES
from saga_service import bootstrap, configuration
from tests.support.order_participants import ORDER

ROOT = Path(__file__).resolve().parents[2]
KEY = IdempotentRequest("order-1", b"hash")


@pytest.fixture
def crash(transactional_db: None, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A PostgreSQL of the test's own as this thread's database; calling it kills that and starts it again."""
    directory = tmp_path / "postgres"
    # Otherwise the log is written within half a second, whether anybody waits for it or not.
    url = postgres.ensure_running(directory, settings={"wal_writer_delay": "10s"})
    environment = {**os.environ, "DATABASE_URL": url, "DEBUG": "True"}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)

    def crash_and_come_back() -> None:
        postgres.stop(directory, "immediate")
        postgres.ensure_running(directory)
        connection.close()

    connection.close()
    with patch.dict(connection.settings_dict, configuration.database_settings(url)):
        yield crash_and_come_back
        connection.close()
    postgres.stop(directory, "immediate")


@pytest.fixture
def engine(crash: Callable[[], None]) -> SagaOrchestrator:
    bootstrap.definitions().register()
    return replace(bootstrap.engine(), participants=None)  # nothing may be called


def being_driven(engine: SagaOrchestrator) -> Saga:
    """The saga of another request under the same key, before its first call was answered."""
    now = engine.clock.now()
    origin = Origin(
        id=engine.new_id(),
        input=ORDER,
        correlation_id="c",
        started_at=now,
        deadline_at=now + timedelta(seconds=30),
        max_retries=3,
    )
    saga, events = Saga.start(COMMANDES, origin)
    assert engine.store.create(saga, events, engine.new_lease(now), KEY) is None
    return saga


def test_a_saga_that_nobody_was_told_of_may_be_lost(crash, engine):
    saga = being_driven(engine)

    crash()

    with pytest.raises(SagaNotFound):
        engine.store.load(saga.id)


def test_a_saga_that_a_second_client_was_told_of_is_still_there(crash, engine):
    saga = being_driven(engine)
    told = engine.start(StartRequest(workflow="commandes", input=ORDER, correlation_id="c", idempotency=KEY, wait=0))
    assert (told.id, told.status) == (saga.id, "RUNNING")

    crash()

    assert engine.store.load(saga.id).history == saga.history
