"""The page on which a step can be made to fail: there where fault injection is on, and explained elsewhere."""

import json
import re

import api_support
import jsonschema_rs
import pytest
from api_support import problem
from django.contrib.staticfiles import finders

from application.fault_scenario import OUTCOMES, scenario_of
from domain.workflows import shipped_definitions
from interfaces.examples import EXAMPLE_INPUTS

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
        for step, meant in zip(offered[name]["steps"], definition.steps, strict=True):
            assert (step["marks"] is not None) == (meant.action is not None), "a message is not called"
            for outcome, mark in (step["marks"] or {}).items():
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
