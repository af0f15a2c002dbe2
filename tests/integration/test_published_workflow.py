"""A workflow that nobody shipped is published to processes that run: gunicorn's and the worker drive its sagas."""

import time

import pytest
from order_stack import ADMIN_KEY, STOCK, running_stack

from infrastructure.definition_store import FRESH
from tests.contract.participants_support import until

PUT_ASIDE = {
    "name": "put_aside",
    "version": 1,
    "input_schema": {
        "type": "object",
        "required": ["quantity"],
        "properties": {"quantity": {"type": "integer", "minimum": 1}},
    },
    "initial_state": "asked",
    "completed_state": "aside",
    "compensating_state": "putting_back",
    "compensated_state": "put_back",
    "failed_state": "not_there",
    "steps": [
        {
            "name": "look",
            "safe": True,
            "action": {"service": "inventaire", "method": "GET", "path": STOCK},
            "reject_when": "${response.quantite_disponible < input.quantity}",
        },
        {
            "name": "reserve",
            "action": {
                "service": "inventaire",
                "method": "POST",
                "path": f"{STOCK}reservations/",
                "body": {"quantite": "${input.quantity}"},
            },
            "compensation": {
                "service": "inventaire",
                "method": "POST",
                "path": f"{STOCK}liberations/",
                "body": {"quantite": "${input.quantity}", "undo_of": "${saga.do_key}"},
            },
            "output": {"reservation": "${response.reservation_id}"},
        },
    ],
}
DEFINITIONS, START = "/api/sagas/definitions/", "/api/sagas/start/"


@pytest.fixture(scope="module")
def stack(postgres_url, tmp_path_factory):
    with running_stack(postgres_url, tmp_path_factory.mktemp("published")) as running:
        yield running


def publish(stack, content):
    return stack.ask("POST", DEFINITIONS, json=content, headers={"X-API-Key": ADMIN_KEY})


def start(stack, quantity=1, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return stack.ask("POST", START, json={"workflow": "put_aside", "input": {"quantity": quantity}}, headers=named)


def test_it_is_started_and_completed_by_processes_that_started_without_it(stack):
    assert start(stack).status_code == 404
    assert stack.ask("POST", DEFINITIONS, json=PUT_ASIDE).status_code == 403, "an operator does not publish"
    before = stack.stock()
    assert publish(stack, PUT_ASIDE).status_code == 201

    sagas = [start(stack) for _ in range(8)]
    assert {(saga.status_code, saga.json()["state"]) for saga in sagas} == {(201, "aside")}, "whichever process it was"
    assert start(stack, quantity=10**6).status_code == 409
    assert stack.stock() == before - 8

    later = start(stack, Prefer="respond-async")
    assert later.status_code == 202
    until(lambda: stack.get(later.headers["Location"]).json()["state"] == "aside", "the worker knows it too")
    assert stack.stock() == before - 9


def test_the_next_version_is_that_of_all_processes_within_a_second(stack):
    publish(stack, PUT_ASIDE)
    started = start(stack).json()
    assert publish(stack, {**PUT_ASIDE, "version": 2, "completed_state": "kept"}).status_code == 201
    time.sleep(FRESH)  # the clock is that of other processes

    later = [start(stack).json() for _ in range(12)]
    assert {(saga["version"], saga["state"]) for saga in later} == {(2, "kept")}
    assert stack.get(f"/api/sagas/transactions/{started['id']}/").json()["version"] == 1
    drawn = stack.get(f"{DEFINITIONS}put_aside/2/diagram/").text
    assert "asked --> kept" in drawn
