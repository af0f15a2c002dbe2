"""Every workflow against its real participants: whatever goes wrong at whichever step, the saga comes to rest and the
participants' ledgers balance.

A further workflow needs an entry in interfaces/examples.py, and gets all of these tests, whether its steps are done by
calls or by messages. The sixth is fixtures/loan.json: nobody has heard of it before it is posted to the API, and the
engine that then drives its sagas was there before.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from devstack import broker
from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import SagaStatus
from domain.exceptions import WorkflowUnknown
from domain.workflows import shipped_definitions
from infrastructure.definition_store import DefinitionStore
from participants.__main__ import services as reference_services
from saga_service import bootstrap
from tests.contract.participants_support import Participant
from tests.support.example_inputs import EXAMPLE_INPUTS
from tests.support.example_workflows import EXAMPLE_WORKFLOWS, PUBLISHED
from tests.support.workflow_bench import (
    DONE,
    FAULTS,
    NOT_DONE,
    REJECTED,
    Bench,
    Bus,
    expected,
    goes_through,
    past_pivot,
    reached_by,
)

with warnings.catch_warnings():
    # drf-yasg loads a validator of schemas, where it is installed, that uses what jsonschema deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    import_module("drf_yasg.codecs")

NEWEST = {definition.name: definition for definition in shipped_definitions()}
WORKFLOWS: dict[str, tuple[SagaDefinition, dict[str, Any]]] = {
    **{name: (NEWEST[name], given) for name, given in EXAMPLE_INPUTS.items()},
    **EXAMPLE_WORKFLOWS,
}
LEFT_OUT = {"gift_wrap"}
"""Steps whose `when` is false for the example."""


def steps_of(wanted: Any) -> list[Any]:
    """(workflow, step) of every step that reaches a participant and of which `wanted` is true."""
    return [
        pytest.param(name, index, id=f"{name}-{step.name}")
        for name, (definition, _) in WORKFLOWS.items()
        for index, step in enumerate(definition.steps)
        if (step.action or step.publish) and step.name not in LEFT_OUT and wanted(definition, index)
    ]


def answered(definition: SagaDefinition, index: int) -> bool:
    """Whether the saga learns what became of the step: a message that nobody answers is done when it is sent."""
    return definition.steps[index].action is not None or definition.steps[index].awaits is not None


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A message broker."""
    directory = Path(tempfile.mkdtemp(prefix="broker-"))
    try:
        yield broker.ensure_running(directory)
    finally:
        broker.kill(directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def bus(url: str) -> Iterator[Bus]:
    steps = [step for definition, _ in WORKFLOWS.values() for step in definition.steps]
    bus = Bus(url, sorted({step.awaits.topic for step in steps if step.awaits and step.awaits.topic}))
    yield bus
    bus.close()


@pytest.fixture(scope="module")
def participants(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[dict[str, Participant]]:
    """Every reference service that a workflow reaches, as a process."""
    known, directory = reference_services(), tmp_path_factory.mktemp("participants")
    reached = {service for definition, _ in WORKFLOWS.values() for service in reached_by(definition)}
    running = {}
    try:
        for name in sorted(reached & set(known)):
            running[name] = Participant(name, directory, "--faults", "--broker", url)
        yield running
    finally:
        for participant in running.values():
            participant.kill()


@pytest.fixture
def process(db: None) -> Iterator[DefinitionStore]:
    """The workflows of this process, which it has been running with; what other tests published is gone."""
    known = bootstrap.engine().definitions
    assert isinstance(known, DefinitionStore)
    _forget(known)
    yield known
    _forget(known)


def _forget(known: DefinitionStore) -> None:
    for remembered in (known._loaded, known._schemas, known._newest):
        remembered.clear()


def publish(content: dict[str, Any]) -> None:
    """Post the JSON to this process's API, which did not know the workflow and has it from then on."""
    answer = Client().post("/api/sagas/definitions/", content, content_type="application/json")
    assert answer.status_code == 201, answer.content


@pytest.fixture
def bench(process: DefinitionStore, participants: dict[str, Participant], bus: Bus, workflow: str) -> Bench:
    running = process if workflow in PUBLISHED else None
    first, second = (Bench(*WORKFLOWS[workflow], participants, bus, running) for _ in range(2))
    if running:
        with pytest.raises(WorkflowUnknown):
            second.run()
        publish(PUBLISHED[workflow])
    expected(first)
    second.seed()  # what the exemplary saga took is there again
    return second


def test_every_shipped_workflow_whose_participants_are_here_is_tested():
    known = set(reference_services())
    runnable = {name for name, whole in NEWEST.items() if reached_by(whole) <= known}
    assert runnable <= set(EXAMPLE_INPUTS) <= set(NEWEST)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_it_goes_through(bench):
    saga = bench.run()
    effects = bench.ended(saga, completed=True)
    effective = {step.name for at, step in enumerate(bench.definition.steps) if not step.safe and bench.place(at)}
    assert {place.split(":")[0].split("[")[0] for place, _ in effects} == effective


@pytest.mark.parametrize("workflow", EXAMPLE_INPUTS)
def test_its_example_goes_through_again_and_again(bench):
    for _ in range(3):
        bench.ended(bench.run(), completed=True)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("workflow", "index"), steps_of(answered))
def test_a_step_that_is_refused_or_not_answered(bench, index, fault):
    bench.strike(index, fault)
    saga = bench.run()
    completed = goes_through(bench.definition, index, fault)
    assert bench.struck() >= 1
    parks = past_pivot(bench.definition, index) or (bench.definition.steps[index].pivot and completed)
    assert (saga.status is SagaStatus.STUCK) == parks, saga.parked_reason
    saga = bench.helped(saga)
    bench.ended(saga, completed=completed)
    if not completed:
        assert saga.failure.step == bench.definition.steps[index].name


@pytest.mark.parametrize("fault", [DONE, NOT_DONE])
@pytest.mark.parametrize(("workflow", "index"), steps_of(lambda whole, at: whole.steps[at].inquiry is not None))
def test_an_inquiry_that_is_not_answered_parks_the_saga_until_it_is(bench, index, fault):
    bench.strike(index, fault)
    bench.fault(f"{bench.place(index)}:inquire", fault="fail", status=503)
    saga = bench.run()
    assert saga.status is SagaStatus.STUCK
    assert all(operation == "do" for _, operation in bench.effects(saga)), "nothing is guessed"
    bench.ended(bench.helped(saga), completed=goes_through(bench.definition, index, fault))


def turned_back(bench: Bench, index: int) -> Saga:
    """The step is done and has to be undone: a later step is refused, or a person takes it all back."""
    later = range(index + 1, len(bench.definition.steps))
    following = next((at for at in later if bench.place(at) and answered(bench.definition, at)), None)
    if following is None:
        return bench.act(bench.run(), Saga.compensate)
    bench.strike(following, REJECTED)
    return bench.run()


def undone_by(field: str) -> list[Any]:
    """The steps that have this kind of undo, and may need it."""
    return steps_of(lambda whole, at: getattr(whole.steps[at], field) and not past_pivot(whole, at))


@pytest.mark.parametrize(("workflow", "index"), undone_by("compensation"))
def test_an_undo_that_fails_is_repeated_until_it_is_done(bench, index):
    bench.fault(f"{bench.place(index)}:undo", fault="fail", status=500, times=3)
    bench.ended(turned_back(bench, index), completed=False)
    assert bench.struck() >= 3


@pytest.mark.parametrize(("workflow", "index"), undone_by("compensation"))
def test_an_undo_whose_answer_is_lost_is_one_undo(bench, index):
    bench.fault(f"{bench.place(index)}:undo", fault="answer_lost", times=2)
    bench.ended(turned_back(bench, index), completed=False)
    assert bench.struck() >= 2


@pytest.mark.parametrize(("workflow", "index"), undone_by("compensation"))
def test_an_undo_that_is_given_up_parks_the_saga_until_somebody_helps(bench, index):
    bench.fault(f"{bench.place(index)}:undo", fault="fail", status=500)
    saga = turned_back(bench, index)
    assert saga.status is SagaStatus.STUCK
    assert saga.debts()[0].split("[")[0] == bench.definition.steps[index].name
    bench.ended(bench.helped(saga), completed=False)


@pytest.mark.parametrize(("workflow", "index"), undone_by("undo_publish"))
def test_an_undo_by_message_that_its_participant_fails_to_take_comes_again(bench, index):
    bench.fault_of_undo_message(index, fault="failed", times=1)
    bench.ended(turned_back(bench, index), completed=False)
    assert bench.struck() >= 1


@pytest.mark.parametrize(("workflow", "index"), undone_by("undo_publish"))
def test_an_undo_by_message_waits_while_the_broker_is_away(bench, index):
    bench.away_for = f"{bench.place(index)}:undo"
    saga = turned_back(bench, index)
    assert bench.troubled >= 1
    assert bench.outbox.waiting(1)
    bench.recover()
    bench.ended(saga, completed=False)


@pytest.mark.parametrize("action", ["do", "undo"])
@pytest.mark.parametrize(("workflow", "index"), undone_by("undo_publish"))
def test_a_message_that_is_sent_twice_has_one_effect(bench, index, action):
    bench.repeats = f"{bench.place(index)}:{action}"
    bench.ended(turned_back(bench, index), completed=False)
    assert bench.troubled == 1


@pytest.mark.parametrize("workflow", [name for name, (whole, _) in WORKFLOWS.items() if not past_pivot(whole, 99)])
def test_a_completed_saga_is_taken_back_whole(bench):
    saga = bench.act(bench.run(), Saga.compensate)
    bench.ended(saga, completed=False)
