"""A workflow that nobody shipped is published to processes that run: gunicorn's and the worker drive its sagas.

All that can strike fixtures/loan.json is in test_every_workflow.py; here is some of it, between processes.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from order_stack import ADMIN_KEY, STOCK, running_stack

from infrastructure.definition_store import FRESH
from tests.contract.participants_support import Participant, until
from tests.support.example_workflows import LOAN, LOAN_INPUT

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
def lenders(tmp_path_factory) -> Iterator[dict[str, Participant]]:
    """The services that the loan calls; a deployment reaches those of other workflows anyway."""
    directory = tmp_path_factory.mktemp("lenders")
    running = {name: Participant(name, directory, "--faults") for name in ("wallet", "payments")}
    yield running
    for participant in running.values():
        participant.kill()


@pytest.fixture(scope="module")
def stack(postgres_url, tmp_path_factory, lenders):
    urls = {"WALLET_SERVICE_URL": lenders["wallet"].url, "PAYMENT_SERVICE_URL": lenders["payments"].url}
    with running_stack(postgres_url, tmp_path_factory.mktemp("published"), urls) as running:
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


class Loans:
    """The loan of fixtures/loan.json, in a deployment that has been told of it while it ran."""

    def __init__(self, stack, lenders: dict[str, Participant]) -> None:
        self.stack, self.lenders = stack, lenders
        for lender in lenders.values():
            lender.call("DELETE", "/_faults")

    def fault(self, place: str, **rule) -> None:
        for lender in self.lenders.values():
            lender.call("POST", "/_faults", {"match": {"key": f":{place}"}, **rule})

    def asked(self, **given) -> dict:
        """The saga once it has ended, whichever process ended it."""
        answer = self.stack.ask("POST", START, json={"workflow": "loan", "input": {**LOAN_INPUT, **given}})
        assert answer.status_code in {201, 202, 409, 502, 504}, answer.text
        place = f"/api/sagas/transactions/{answer.json()['id']}/"
        return until(lambda: (saga := self.stack.get(place).json())["finished_at"] and saga, "the saga ends")

    def effects(self, saga: dict) -> Counter:
        """What the participants' ledgers say was done, as (step, operation)."""
        rows = [row for each in self.lenders.values() for row in each.get(f"/_ledger?saga_id={saga['id']}")["effects"]]
        return Counter((row["key"].split(":")[1], row["operation"]) for row in rows)


@pytest.fixture
def loans(stack, lenders):
    return Loans(stack, lenders)


def test_the_sixth_workflow_is_published_as_its_file_stands(stack):
    wanted = {"workflow": "loan", "input": LOAN_INPUT}
    assert stack.ask("POST", START, json=wanted).status_code == 404
    body = (Path(__file__).parents[2] / "fixtures" / "loan.json").read_bytes()
    headers = {"X-API-Key": ADMIN_KEY, "Content-Type": "application/json"}
    answer = stack.ask("POST", DEFINITIONS, data=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert [finding for finding in answer.json()["findings"] if finding["severity"] == "warning"] == []
    assert stack.ask("POST", START, json=wanted).json()["state"] == "PAID_OUT"


WHOLE = {("fee", "do"): 1, ("payout", "do"): 1}
FEE_BACK = {("fee", "do"): 1, ("fee", "undo"): 1}


@pytest.mark.parametrize(
    ("given", "faults", "status", "effects"),
    [
        ({}, {}, "COMPLETED", WHOLE),
        ({"user_id": 457}, {}, "FAILED", {}),
        ({"card": "declined_card"}, {}, "FAILED", {}),
        ({}, {"payout:do": {"fault": "fail", "status": 409}}, "COMPENSATED", FEE_BACK),
        ({}, {"fee:do": {"fault": "answer_lost"}}, "COMPLETED", WHOLE),
        ({}, {"fee:do": {"fault": "reset"}}, "FAILED", {}),
        (
            {},
            {"payout:do": {"fault": "answer_lost"}},
            "COMPENSATED",
            {**WHOLE, ("fee", "undo"): 1, ("payout", "undo"): 1},
        ),
        ({}, {"payout:do": {"fault": "reset"}}, "COMPENSATED", FEE_BACK),
        (
            {},
            {"payout:do": {"fault": "fail", "status": 409}, "fee:undo": {"fault": "fail", "status": 500, "times": 2}},
            "COMPENSATED",
            FEE_BACK,
        ),
    ],
    ids=["all well", "wallet frozen", "fee refused", "payout refused", "fee taken unheard", "fee not taken unheard",
         "payout done unheard", "payout not done unheard", "refund fails at first"],
)  # fmt: skip
def test_whatever_strikes_the_sixth_its_ledgers_balance(loans, given, faults, status, effects):
    publish(loans.stack, LOAN)
    for place, rule in faults.items():
        loans.fault(place, **rule)
    saga = loans.asked(**given)
    assert saga["status"] == status
    assert loans.effects(saga) == effects
