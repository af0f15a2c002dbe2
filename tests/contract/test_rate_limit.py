"""How often a caller may ask for cash-outs: 600 a minute, by whichever route, counted by all processes together."""

import threading
from datetime import UTC, datetime, timedelta

import api_support
import pytest
from api_support import START, problem
from django.db import connection

from infrastructure.rates import PostgresRates
from interfaces.callers import Caller, CallerAuthentication
from saga_service.configuration import read

api = api_support.api

CASHOUT = "/api/sagas/cashout/start/"
ROLLBACK = "/api/sagas/cashout/rollback/"
SLIP = {"bet_slip_id": 123, "user_id": 456}
MINUTE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def limited(settings):
    """To so many a minute."""

    def to(requests):
        settings.SAGA_ORCHESTRATOR_CONFIG = {
            **settings.SAGA_ORCHESTRATOR_CONFIG,
            "RATES": {"cashout_flow": requests},
        }

    return to


@pytest.fixture
def at(api, monkeypatch):
    """A time of the clock's minute."""

    def set_to(second, minute=0):
        moment = MINUTE + timedelta(minutes=minute, seconds=second)
        monkeypatch.setattr(api.clock, "now", lambda: moment)

    set_to(0)
    return set_to


def start(api):
    return api.post(CASHOUT, SLIP, Prefer="respond-async")


def test_six_hundred_requests_a_minute_go_through_and_the_next_is_told_when_to_come_again(api, at):
    at(42)
    bad = {"bet_slip_id": "123"}  # it counts as well, and costs the test less
    assert {api.post(CASHOUT, bad).status_code for _ in range(599)} == {400}
    assert start(api).status_code == 202

    refused = start(api)

    assert "18 seconds" in problem(refused, 429, "throttled")["detail"]
    assert refused.headers["Retry-After"] == "18"
    at(0, minute=1)
    assert start(api).status_code == 202


def test_the_limit_is_six_hundred_unless_the_environment_says_another_and_none_at_0():
    assert read({"DEBUG": "True"}).cashout_rate == 600
    assert read({"DEBUG": "True", "SAGA_CASHOUT_RATE": "0"}).cashout_rate == 0


def test_every_route_that_moves_money_counts_and_none_that_only_reads(api, at, limited):
    limited(3)
    saga_id = start(api).json()["saga_transaction_id"]
    asked = {"workflow": "cashout_flow", "input": SLIP}
    assert api.post(START, asked, Prefer="respond-async").status_code == 202
    assert api.post(ROLLBACK, {"saga_transaction_id": saga_id, "reason": "r"}, Prefer="wait=0").status_code == 200

    for refused in (
        start(api),
        api.post(START, asked),
        api.post(ROLLBACK, {"saga_transaction_id": saga_id, "reason": "r"}),
        api.post(f"/api/sagas/cashout/{saga_id}/retry/wallet_credit/", {"reason": "r"}),
    ):
        problem(refused, 429, "throttled")
    assert api.get(f"/api/sagas/cashout/status/{saga_id}/").status_code == 200
    assert api.get("/api/sagas/cashout/list/").status_code == 200


def test_other_workflows_are_not_limited(api, at, limited):
    limited(1)
    start(api)

    assert api.order().status_code == 201
    order = {"workflow": "commandes", "input": api_support.ORDER}
    assert {api.post(START, order).status_code for _ in range(2)} == {201}


def test_each_caller_has_its_own_count(api, at, limited, monkeypatch):
    limited(1)
    names = iter(["app-1", "app-2", "app-1"])

    def caller(*_):
        return Caller(next(names), frozenset({"saga-client"})), None

    monkeypatch.setattr(CallerAuthentication, "authenticate", caller)

    assert [start(api).status_code for _ in range(3)] == [202, 202, 429]


def test_without_a_limit_nothing_is_counted(api, limited):
    limited(0)
    assert {start(api).status_code for _ in range(3)} == {202}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM saga_rates")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_processes_that_count_at_once_count_together():
    """Each thread has a connection of its own, as each of gunicorn's workers has."""
    counted, limit = [], 50

    def count():
        counted.extend(PostgresRates().count("cashout_flow", "app", MINUTE, limit) for _ in range(20))
        connection.close()

    threads = [threading.Thread(target=count) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(number <= limit for number in counted) == limit, "exactly so many go through"


@pytest.mark.django_db
def test_a_process_whose_clock_is_a_minute_behind_gives_nobody_a_second_count():
    rates = PostgresRates()
    assert [rates.count("w", "app", MINUTE + timedelta(minutes=1), 2) for _ in range(3)] == [1, 2, 3]
    assert rates.count("w", "app", MINUTE, 2) == 3
    assert rates.count("w", "app", MINUTE + timedelta(minutes=2), 2) == 1


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_for_a_moment_refuses_nobody():
    rates = PostgresRates()
    assert rates.count("w", "app", MINUTE, 2) == 1
    other = connection.copy()
    with connection.cursor() as cursor, other.cursor() as killer:
        cursor.execute("SELECT pg_backend_pid()")
        killer.execute("SELECT pg_terminate_backend(%s)", [cursor.fetchone()[0]])
    other.close()

    assert rates.count("w", "app", MINUTE, 2) == 0
    assert rates.count("w", "app", MINUTE, 2) == 2
