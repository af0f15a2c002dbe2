"""Scripted faults: a service goes wrong exactly as it was told to, on the real connection, and only then."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from participants_support import Participant, Reservation, running

from participants.assortment import PRODUCTS, STORES

PLACE = f"/api/ddd/inventaire/stock-local/{PRODUCTS[0].id}/{STORES[0]}/"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Participant]:
    with running("inventaire", tmp_path_factory.mktemp("faulty"), "--faults") as service:
        yield service


@pytest.fixture
def inventory(faulty: Participant) -> Iterator[Participant]:
    yield faulty
    assert faulty.call("DELETE", "/_faults").status_code == 200


@pytest.fixture
def reservation(inventory: Participant) -> Reservation:
    return Reservation(inventory, PLACE)


def script(inventory: Participant, fault: str, **options: Any) -> None:
    answer = inventory.call("POST", "/_faults", {"fault": fault, **options})
    assert answer.status_code == 201, answer.text


def statuses(inventory: Participant, count: int) -> list[int]:
    return [inventory.call("GET", PLACE).status_code for _ in range(count)]


def test_fail_answers_the_status_without_touching_the_database(inventory, reservation):
    script(inventory, "fail", status=503, headers={"Retry-After": "1"}, times=1)
    failed = reservation.do()
    assert (failed.status_code, failed.headers["Retry-After"]) == (503, "1")
    assert failed.json()["code"] == "scripted_fault"
    assert reservation.effects() == []
    assert reservation.do().status_code == 201


def test_fail_may_have_done_its_work(inventory, reservation):
    script(inventory, "fail", times=1, execute=True)
    assert reservation.do().status_code == 500
    assert reservation.effects() == ["do"]


def test_delay_waits_then_executes(inventory, reservation):
    script(inventory, "delay", seconds=0.3, times=1)
    started = time.monotonic()
    assert reservation.do().status_code == 201
    assert time.monotonic() - started >= 0.3


def test_a_lost_answer_was_executed_and_its_repeat_tells_so(inventory, reservation):
    script(inventory, "answer_lost", times=1)
    with pytest.raises(requests.ConnectionError):
        reservation.do()
    assert reservation.effects() == ["do"]
    repeated = reservation.do()
    assert (repeated.status_code, repeated.headers["Idempotent-Replayed"]) == (201, "true")
    assert reservation.effects() == ["do"]


def test_a_duplicated_call_has_one_effect(inventory):
    script(inventory, "duplicate")
    for _ in range(10):
        reservation = Reservation(inventory, PLACE)
        assert (reservation.do().status_code, reservation.effects()) == (201, ["do"])
        assert (reservation.undo().status_code, reservation.effects()) == (200, ["do", "undo"])


@pytest.mark.parametrize("status", [200, 502])
def test_html_comes_instead_of_the_answer(inventory, reservation, status):
    script(inventory, "html", status=status, times=1)
    answer = reservation.do()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert reservation.effects() == ["do"]


def test_a_truncated_answer_breaks_off(inventory, reservation):
    script(inventory, "truncated", times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        reservation.do()
    assert reservation.effects() == ["do"]


def test_a_dripping_answer_arrives_whole_but_slowly(inventory, reservation):
    script(inventory, "drip", seconds=0.3, times=1)
    started = time.monotonic()
    answer = reservation.do()
    assert time.monotonic() - started >= 0.3
    assert (answer.status_code, set(answer.json())) == (201, {"reservation_id"})


def test_a_reset_connection_did_nothing(inventory, reservation):
    script(inventory, "reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        reservation.do()
    assert reservation.effects() == []
    assert reservation.do().status_code == 201


def test_a_spoiled_connection_does_not_disturb_the_service(inventory):
    for fault in ("answer_lost", "reset", "truncated"):
        script(inventory, fault, times=20, match={"method": "GET"})
    for _ in range(60):
        with pytest.raises(requests.RequestException):
            inventory.call("GET", PLACE)
    assert statuses(inventory, 20) == [200] * 20
    assert "ERROR" not in inventory.log.read_text()


def test_after_and_times_choose_the_calls_that_fail(inventory):
    script(inventory, "fail", after=2, times=3)
    assert statuses(inventory, 7) == [200, 200, 500, 500, 500, 200, 200]
    rule = inventory.get("/_faults")["rules"][0]
    assert (rule["matched"], rule["used"]) == (7, 3)


def test_a_rate_draws_the_same_calls_from_the_same_seed(inventory):
    drawn = []
    for _ in range(2):
        script(inventory, "fail", rate=0.5, seed=42)
        drawn.append(statuses(inventory, 30))
        inventory.call("DELETE", "/_faults")
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {200, 500}


def test_a_rule_strikes_only_the_calls_that_it_matches(inventory, reservation):
    script(inventory, "fail", match={"method": "post", "path": "liberations", "key": reservation.saga_id})
    assert statuses(inventory, 1) == [200]
    assert reservation.do().status_code == 201
    assert reservation.undo().status_code == 500
    assert Reservation(inventory, PLACE).undo().status_code == 200


def test_the_first_rule_that_fires_wins(inventory):
    script(inventory, "fail", status=503, times=1)
    script(inventory, "fail", status=500)
    assert statuses(inventory, 3) == [503, 500, 500]


def test_the_services_own_routes_are_never_struck(inventory):
    script(inventory, "fail")
    assert inventory.get("/health")["status"] == "ok"
    assert inventory.get("/_ledger")["effects"] is not None
    assert inventory.call("DELETE", "/_faults").json() == {"cleared": 1}
    assert statuses(inventory, 1) == [200]


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({}, "fault must be one of fail, delay"),
        ({"fault": "explode"}, "fault must be one of"),
        ({"fault": "fail", "stauts": 500}, "has no stauts"),
        ({"fault": "fail", "match": {"url": "x"}}, "match has no url"),
        ({"fault": "fail", "match": ["x"]}, "match must be an object"),
        ({"fault": "fail", "status": 99}, "status must be"),
        ({"fault": "fail", "status": 600}, "status must be"),
        ({"fault": "fail", "headers": {"X": 1}}, "headers must be"),
        ({"fault": "fail", "headers": {"X": "a\r\nY: b"}}, "headers must be"),
        ({"fault": "fail", "times": 0}, "times must be"),
        ({"fault": "fail", "after": -1}, "after must be"),
        ({"fault": "fail", "rate": 1.5}, "rate must be a number from 0 to 1"),
        ({"fault": "fail", "seed": "x"}, "seed must be"),
        ({"fault": "delay", "seconds": "2"}, "seconds must be"),
        ({"fault": "delay", "seconds": 601}, "seconds must be"),
        ({"fault": "fail", "execute": 1}, "execute must be true or false"),
        ({"fault": "answer_lost", "execute": False}, "answer_lost always executes"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_a_reason(inventory, rule, names):
    answer = inventory.call("POST", "/_faults", rule)
    assert answer.status_code == 400
    assert names in answer.json()["detail"]
    assert inventory.get("/_faults")["rules"] == []
