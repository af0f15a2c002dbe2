"""The mix: what is wanted of each workflow is what its definition has, and what the participants answer to."""

from random import Random

import pytest
from jsonschema import Draft202012Validator

from domain.workflows import shipped_definitions
from participants.__main__ import services
from tests.chaos.evidence import tables
from tests.chaos.faults import AT_A_MESSAGE, MOMENTS, Fault
from tests.chaos.plan import Plan
from tests.chaos.sizes import SHORT
from tests.chaos.workloads import WORKLOADS, Wish

EACH = pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)


def test_every_shipped_workflow_is_in_the_mix():
    assert set(WORKLOADS) == {definition.name for definition in shipped_definitions()}
    assert sum(workload.share for workload in WORKLOADS.values()) == 100


@EACH
def test_an_order_is_one_that_its_workflow_takes(workload):
    valid = Draft202012Validator(workload.definition.input_schema)
    for refused in (None, *workload.refusals):
        for planned in (True, False):
            given = workload.given(Random(1), Wish(7, refused, planned))
            assert not list(valid.iter_errors(given))


@EACH
def test_every_step_with_an_effect_is_seen_at_its_participant(workload):
    names = {step.name for step in workload.definition.steps if not step.safe}
    assert {*workload.levels, *workload.things} == names
    assert workload.services <= set(services())


@EACH
def test_an_order_that_a_fault_is_planned_for_passes_through_every_call(workload):
    given = workload.given(Random(1), Wish(7, None, planned=True))
    places = {
        f"{step}[{item}]" if f"{step}[0]:do" in workload.dos() else step for step, item in workload.effects(given)
    }
    messages = {step.name for step in workload.definition.steps if step.messages}
    assert {call.removesuffix(":do") for call in workload.dos()} == places - messages
    assert set(workload.refusals) <= {step.name for step in workload.definition.steps}
    assert workload.last_step in workload.refusals


def test_the_plan_deals_each_fault_to_a_workflow_that_can_meet_it():
    plan = Plan(1, 400, dict.fromkeys(set(Fault) - MOMENTS, 8))
    met = {fault: {script.workflow for script in plan.scripts if script.fault is fault} for fault in Fault}
    assert all(met[fault] == {"partner_creation"} for fault in AT_A_MESSAGE)
    assert "partner_creation" not in met[Fault.KILL_BETWEEN_UNDOS]
    assert met[Fault.INQUIRY_LOST] == {"order_processing", "partner_creation"}
    assert {script.workflow for script in plan.scripts} == set(WORKLOADS)


def test_a_run_without_the_broker_asks_for_nothing_that_needs_it():
    plan = Plan(1, 50, {}, workflows=("commandes", "flight_booking"))
    assert {script.workflow for script in plan.scripts} == {"commandes", "flight_booking"}
    assert not any(workload.speaks for workload in plan.workloads)


def test_what_participants_show_is_asked_of_those_who_have_it():
    levels, things = tables(WORKLOADS.values())
    assert {service for service, _ in (*levels, *things)} <= {
        service for workload in WORKLOADS.values() for service in workload.services
    }
    assert SHORT.workflows == tuple(WORKLOADS)
