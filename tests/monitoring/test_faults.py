"""Each alert fires on its fault: the real rules, sixty times as fast, over the real stack in which things break.

Faults that do not disturb each other are there at once, in a few phases; every phase waits for its alerts and then
repairs what it broke. In the end all is quiet again but for what waits for a person.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from devstack import broker, postgres
from tests.monitoring.prometheus import ALERTS
from tests.monitoring.system import Watched
from tests.support import load
from tests.support.waiting import until

WAIT_FOR_A_PERSON = {"SagasParked", "SagasParkedTooLong"}
"""Firing from the start: the load has parked some sagas."""
NOBODY = UUID(int=1)
Seen = dict[str, list[dict[str, Any]]]


class Watch:
    """What has been firing since the beginning."""

    def __init__(self, system: Watched) -> None:
        self.system, self.seen = system, Seen()

    def firing(self) -> set[str]:
        found = self.system.prometheus.alerts()
        for alert in found:
            self.seen.setdefault(alert["labels"]["alertname"], []).append(alert)
        return {alert["labels"]["alertname"] for alert in found}

    def until_seen(self, *names: str) -> None:
        def missing() -> set[str]:
            self.firing()
            return set(names) - self.seen.keys()

        until(lambda: not missing(), lambda: f"not firing: {missing()}; firing: {self.firing()}")

    def until_quiet(self, *but: str) -> None:
        allowed = WAIT_FOR_A_PERSON | set(but)
        until(lambda: self.firing() <= allowed, lambda: f"still firing: {self.firing() - allowed}")


@contextlib.contextmanager
def again_and_again(*calls: Callable[[], object], pause: float = 0.1) -> Iterator[None]:
    """Each of these calls, in a thread of its own, until the block ends."""
    ended = threading.Event()

    def repeat(call: Callable[[], object]) -> None:
        while not ended.wait(pause):
            with contextlib.suppress(OSError, psycopg2.Error):
                call()

    threads = [threading.Thread(target=repeat, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def participants_break(system: Watched, watch: Watch) -> None:
    """One participant is gone, one is slow, one refuses to undo, clients have a wrong key; no broker, no worker."""
    system.fault("wallet", "delay", "/", seconds=3)
    system.fault("inventaire", "fail", "/liberations/", status=409)
    system.kill("payments")
    broker.kill(system.stack.data / "broker")
    strangers = f"{system.stack.gateway}/api/sagas/statistics/"
    with again_and_again(
        lambda: load.start(system, "order_processing", load.FOOD, wait=None),
        lambda: load.start(system, "flight_booking", load.FLIGHT, wait=2),
        lambda: load.start(system, "flight_booking", load.FLIGHT, wait=2),
        lambda: load.cash_out(system),
        lambda: load.start(system, "commandes", load.ORDER, ":fail=creation_commande"),
        lambda: system.session.get(strangers, headers={"X-API-Key": "wrong"}, timeout=10),
    ):
        watch.until_seen("ParticipantNotCalled", "OutboxLag")
        system.kill("worker")
        watch.until_seen("ParticipantFailing", "ParticipantSlow", "GatewayErrors", "GatewayRefusesClients")
        watch.until_seen(
            "SagaFailuresHigh", "StepAnswersMissing", "SagaRefusalsHigh", "UndosFailing", "UndoDebtGrowing"
        )
        watch.until_seen("TargetDown", "WorkerGone", "SagasNotTakenUp")
    system.no_faults("wallet")
    system.no_faults("inventaire")
    broker.ensure_running(system.stack.data / "broker", system.ports.broker)
    system.begin_again("payments")


def worker_has_the_wrong_key(system: Watched, watch: Watch) -> None:
    """A worker runs again, with a key that the gateway does not know."""
    system.begin_again("worker", KONG_API_KEY="not-this-one")
    watch.until_seen("GatewayKeyRefused")
    system.kill("worker")
    system.begin_again("worker", KONG_API_KEY=system.session.headers["X-API-Key"])


def database_is_full_and_slow(system: Watched, watch: Watch) -> None:
    """Somebody takes nearly all connections, and locks the sagas again and again; a message has an impossible topic."""
    with contextlib.ExitStack() as sessions:
        mine = sessions.enter_context(contextlib.closing(psycopg2.connect(system.database)))
        _store(
            mine,
            "INSERT INTO saga_outbox (saga_id, seq, topic, payload, created_at) VALUES (%s, 1, 'a/b', '{}', now())",
        )
        while _taken(system) < 0.95 * system.connections:
            sessions.enter_context(contextlib.closing(psycopg2.connect(system.database)))
        locker = sessions.enter_context(contextlib.closing(psycopg2.connect(system.database)))

        def lock() -> None:
            with locker, locker.cursor() as cursor:
                cursor.execute("LOCK TABLE sagas IN EXCLUSIVE MODE; SELECT pg_sleep(0.3)")

        with again_and_again(lock, pause=0.02):
            watch.until_seen("DatabaseConnectionsHigh", "DatabaseSlow", "MessagesPutAside")
        _store(mine, "DELETE FROM saga_outbox WHERE saga_id = %s")


def _store(session: Any, statement: str) -> None:
    with session, session.cursor() as cursor:
        cursor.execute(statement, [str(NOBODY)])


def _taken(system: Watched) -> int:
    """How many connections the server has, this one included."""
    with contextlib.closing(psycopg2.connect(system.database)) as session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(cursor.fetchone()[0])


def database_is_gone(system: Watched, watch: Watch) -> None:
    """PostgreSQL is stopped."""
    directory = system.stack.data / "postgres"
    postgres.stop(directory, "immediate")
    with again_and_again(*[lambda: load.start(system, "commandes", load.ORDER)] * 3):
        watch.until_seen("DatabaseNotRead", "PostgresDown", "ApiErrors")
    postgres.ensure_running(directory, system.ports.postgres, system.database_settings)


def worker_is_not_found(system: Watched, watch: Watch) -> None:
    """Discovery knows of no worker."""
    with system.prometheus.without("saga-worker"):
        watch.until_seen("NoTarget")


PHASES = (
    participants_break,
    worker_has_the_wrong_key,
    worker_is_not_found,
    database_is_full_and_slow,
    database_is_gone,
)


@pytest.fixture(scope="module")
def seen(system: Watched) -> Seen:
    """Every alert that fired while things broke, one after the other."""
    watch = Watch(system)
    watch.until_quiet()
    for phase in PHASES:
        phase(system, watch)
    watch.until_quiet("UndoDebtGrowing")
    return watch.seen


@pytest.mark.parametrize("alert", ALERTS)
def test_the_alert_fires_on_its_fault(seen, alert):
    assert alert in seen


def test_what_an_alert_says_is_filled_in(seen):
    for alert in (alert for alerts in seen.values() for alert in alerts):
        text = " ".join(alert["annotations"].values())
        assert "{{" not in text and "<no value>" not in text and "<error" not in text, text
        assert alert["annotations"]["console"].startswith("http://localhost:8009/console/")


def test_alerts_name_what_broke(seen):
    def named(alert: str, label: str) -> set[str]:
        return {each["labels"][label] for each in seen[alert]}

    assert named("ParticipantFailing", "service") >= {"payments"}
    assert named("GatewayErrors", "service") >= {"payments"}
    assert named("ParticipantSlow", "service") >= {"wallet"}
    assert named("UndosFailing", "etape") >= {"reservation_stock"}
    assert named("UndoDebtGrowing", "service") >= {"inventaire"}
    assert named("SagaRefusalsHigh", "workflow") >= {"commandes"}
    assert named("GatewayRefusesClients", "service") >= {"saga"}
    assert named("TargetDown", "job") == {"saga-worker"}
    assert named("NoTarget", "job") == {"saga-worker"}
