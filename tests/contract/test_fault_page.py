"""The page on which a step can be made to fail: there where fault injection is on, and explained elsewhere."""

import json
import re

import api_support
import jsonschema_rs
import pytest
from api_support import problem
from django.contrib.staticfiles import finders

from application.fault_scenario import OUTCOMES, scenario_of
from application.messages import Relay
from application.recovery import claim_due, drive
from domain.outcomes import Succeeded
from domain.workflows import shipped_definitions
from domain.workflows.partner_creation import COMMANDS
from infrastructure.fault_injection import FaultyOutbox
from infrastructure.outbox_store import PostgresOutbox
from interfaces.examples import EXAMPLE_INPUTS
from interfaces.platform import engine
from saga_service import bootstrap

api = api_support.api

PAGE = "/saga/test"
NEWEST = {definition.name: definition for definition in shipped_definitions()}


@pytest.fixture
def faults_on(settings):
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "FAULT_INJECTION": True}


def page(api):
    answer = api.get(PAGE, Accept="text/html")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    return answer


def test_without_fault_injection_the_page_is_refused_and_says_why(api):
    for accepted in ("text/html", "application/json, text/html;q=0.9, */*;q=0.8"):
        assert (
            "SAGA_FAULT_INJECTION=True" in problem(api.get(PAGE, Accept=accepted), 403, "fault_injection_off")["detail"]
        )


def test_the_page_offers_every_shipped_workflow_with_every_step_and_an_input(api, faults_on):
    html = page(api).content.decode()

    shown = json.loads(re.search(r'<script id="shown" type="application/json">(.*?)</script>', html)[1])
    offered = {workflow["name"]: workflow for workflow in shown["workflows"]}
    assert set(offered) >= set(NEWEST)
    for name, definition in NEWEST.items():
        assert [step["name"] for step in offered[name]["steps"]] == [step.name for step in definition.steps]
        assert offered[name]["input"] == EXAMPLE_INPUTS[name]
        for step in offered[name]["steps"]:
            assert set(step["marks"]) == set(OUTCOMES), "every step can be told to fail, in every way"
            for outcome, mark in step["marks"].items():
                scenario = scenario_of(f"id{mark}{shown['slow']}")
                assert (scenario.step, scenario.outcome, scenario.slow) == (step["name"], outcome, True)
    assert all(f'value="{outcome}"' in html for outcome in OUTCOMES)


@pytest.mark.parametrize("name", NEWEST)
def test_every_shipped_workflow_has_an_example_that_fits_it(name):
    assert name in EXAMPLE_INPUTS, f"interfaces/examples.py: add an input for {name}"
    jsonschema_rs.Draft202012Validator(dict(NEWEST[name].input_schema), validate_formats=True).validate(
        EXAMPLE_INPUTS[name]
    )


def test_the_page_needs_no_other_host_and_runs_no_script_but_its_own(api, faults_on):
    answer = page(api)

    html = answer.content.decode()
    assert re.findall(r"<script(?: [^>]*)?>", html) == [
        '<script src="/static/saga/test.js" defer>',
        '<script id="shown" type="application/json">',
    ]
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "://" not in html
    for name in ("saga/test.js", "saga/test.css"):
        with open(finders.find(name), encoding="utf-8") as file:  # noqa: PTH123
            assert "://" not in file.read()


def test_every_control_has_a_label_and_every_address_by_id_exists(api, faults_on):
    html = page(api).content.decode()

    labelled = set(re.findall(r'<label for="([\w-]+)"', html))
    controls = re.findall(r'<(?:input|select|textarea)\b[^>]*\bid="([\w-]+)"', html)
    assert set(controls) == labelled
    with open(finders.find("saga/test.js"), encoding="utf-8") as file:  # noqa: PTH123
        used = set(re.findall(r'byId\("([\w-]+)"\)', file.read()))
    assert used <= set(re.findall(r'\bid="([\w-]+)"', html))


def test_the_address_with_a_slash_leads_to_the_page(api, faults_on):
    assert api.get(f"{PAGE}/").headers["Location"] == PAGE


# --- a step that is done by a message -------------------------------------------------------------------------------


class Broker:
    def __init__(self):
        self.sent = []

    def publish(self, messages):
        self.sent += [json.loads(message.body)["type"] for message in messages if message.topic == COMMANDS]


class Partners:
    """Partner creations whose alliance is told to fail, and the worker that sees to them."""

    def __init__(self, api, settings, *, faults=True):
        self.api, self.broker = api, Broker()
        api.participants.answers["create_partner:do"] = Succeeded({"partner_id": "p-1"})
        settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "FAULT_INJECTION": faults}
        self.relay = Relay(FaultyOutbox("saga-events", engine()) if faults else bootstrap.relayed(), self.broker)

    def start(self, mark):
        asked = {"workflow": "partner_creation", "input": EXAMPLE_INPUTS["partner_creation"]}
        answer = self.api.post(api_support.START, {**asked, "correlation_id": f"x{mark}"}, Prefer="respond-async")
        self.work()
        return answer.json()["id"]

    def work(self):
        lease, claimed = claim_due(engine(), 10)
        for one in claimed:
            drive(engine(), one, lease)

    def saga(self, saga_id):
        return self.api.get(f"/api/sagas/transactions/{saga_id}/").json()


@pytest.fixture
def partners(api, settings):
    return Partners(api, settings)


@pytest.mark.parametrize(
    ("mark", "kind", "sent"),
    [("", "rejected", []), ("=unavailable", "unavailable", ["CancelAlliance"]),
     ("=unknown", "unknown", ["CreateAlliance", "CancelAlliance"])],
)  # fmt: skip
def test_a_step_done_by_a_message_fails_as_it_was_told_to_and_what_was_done_is_undone(partners, mark, kind, sent):
    saga_id = partners.start(f":fail=create_alliance{mark}")
    for _ in range(3):
        partners.relay.send_some()
        partners.work()

    saga = partners.saga(saga_id)
    assert (saga["status"], saga["error"]["step"], saga["error"]["outcome"]) == ("COMPENSATED", "create_alliance", kind)
    assert saga["error"]["reason"] == "fault injection: create_alliance was told to fail"
    assert partners.broker.sent == sent
    last = partners.api.participants.calls[-1]
    assert (last.step, last.attempt.action) == ("create_partner", "undo")


@pytest.mark.parametrize("mark", ["", ":fail=create_partner"])
def test_a_message_of_a_saga_that_is_not_told_to_fail_there_goes_out(partners, mark):
    saga_id = partners.start(mark)
    partners.relay.send_some()

    assert partners.broker.sent == ["CreateAlliance"]
    assert partners.saga(saga_id)["status"] == "WAITING"


def test_a_paused_saga_meets_its_fault_once_it_is_resumed(partners):
    saga_id = partners.start(":fail=create_alliance")
    act = f"/api/sagas/transactions/{saga_id}/"
    partners.api.post(f"{act}pause/", {"reason": "a look"})
    assert partners.relay.send_some() == 0
    assert partners.saga(saga_id)["status"] == "PAUSED"

    partners.api.post(f"{act}resume/", {"reason": "seen"})
    partners.relay.send_some()
    partners.work()
    assert (partners.saga(saga_id)["status"], partners.broker.sent) == ("COMPENSATED", [])


def test_paused_sagas_that_are_told_to_fail_hold_up_no_other_saga(partners, monkeypatch):
    monkeypatch.setattr("application.messages.BATCH", 2)
    for _ in range(3):
        paused = partners.start(":fail=create_alliance")
        partners.api.post(f"/api/sagas/transactions/{paused}/pause/", {"reason": "a look"})
    partners.start("")
    while partners.relay.send_some():
        pass

    assert partners.broker.sent == ["CreateAlliance"]


def test_without_fault_injection_the_message_goes_out_whatever_the_correlation_id_says(api, settings):
    partners = Partners(api, settings, faults=False)
    saga_id = partners.start(":fail=create_alliance")
    partners.relay.send_some()

    assert partners.broker.sent == ["CreateAlliance"]
    assert partners.saga(saga_id)["status"] == "WAITING"


def test_the_worker_empties_an_outbox_with_faults_only_where_they_are_on(settings):
    for faults, kind in ((True, FaultyOutbox), (False, PostgresOutbox)):
        settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "FAULT_INJECTION": faults}
        assert type(bootstrap.relayed()) is kind
