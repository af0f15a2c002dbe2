"""Every workflow against its real participants: whatever goes wrong at whichever step, the saga comes to rest and the
participants' ledgers balance.

A further workflow needs an entry in tests/support/example_inputs.py, and gets all of these tests.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from application.operations import Operations
from application.recovery import claim_due, drive
from application.saga_orchestrator import StartRequest
from domain.definition import Request, SagaDefinition
from domain.definition_reader import read_definition
from domain.entities import Saga
from domain.events import SagaStatus
from domain.operations import By
from domain.workflows import shipped_definitions
from infrastructure.definition_store import DefinitionStore
from infrastructure.http_participants import HttpParticipants
from infrastructure.saga_store import PostgresSagaStore
from participants.__main__ import services as reference_services
from saga_service import bootstrap
from tests.contract.participants_support import Participant
from tests.support.driving import FakeClock
from tests.support.example_inputs import COFFEE, EXAMPLE_INPUTS, SHOP, TEA

HAMPER = """
{
  "name": "hamper", "version": 1,
  "initial_state": "asked", "completed_state": "packed", "compensating_state": "unpacking",
  "compensated_state": "unpacked", "failed_state": "refused",
  "input_schema": {"type": "object", "required": ["products", "amount"]},
  "steps": [
    {
      "name": "price", "safe": true, "foreach": "${input.products}",
      "action": {"service": "catalogue", "method": "GET", "path": "/api/ddd/catalogue/produits/${item}/"},
      "output": {"produit_id": "${item}", "quantite": 1, "nom": "${response.nom}", "prix_unitaire": "${response.prix}"}
    },
    {
      "name": "hold", "foreach": "${input.products}", "concurrency": 2,
      "action": {
        "service": "inventaire", "method": "POST", "body": {"quantite": 1},
        "path": "/api/ddd/inventaire/stock-local/${item}/SHOP/reservations/"
      },
      "compensation": {
        "service": "inventaire", "method": "POST", "body": {"quantite": 1, "undo_of": "${saga.do_key}"},
        "path": "/api/ddd/inventaire/stock-local/${item}/SHOP/liberations/"
      }
    },
    {
      "name": "gift_wrap", "when": "${input.amount > `1000`}",
      "action": {"service": "nobody", "method": "POST", "path": "/wraps"},
      "compensation": {"service": "nobody", "method": "POST", "path": "/wraps/undo"}
    },
    {
      "name": "charge",
      "action": {
        "service": "payments", "method": "POST", "path": "/payments",
        "body": {"order_id": "${saga.id}", "amount": "${input.amount}", "payment_method": "voucher"}
      },
      "inquiry": {
        "service": "payments", "method": "GET", "path": "/payments/outcome", "query": {"key": "${saga.do_key}"}
      },
      "compensation": {"service": "payments", "method": "POST", "path": "/payments/${steps.charge.id}/compensate"}
    },
    {
      "name": "hand_over", "pivot": true,
      "action": {
        "service": "commandes", "method": "POST", "path": "/api/v1/ventes-ddd/enregistrer/",
        "body": {
          "client_id": "12345678-1234-1234-1234-123456789012", "magasin_id": "SHOP", "lignes": "${steps.price}"
        }
      }
    },
    {
      "name": "thank",
      "action": {
        "service": "payments", "method": "POST", "path": "/payments",
        "body": {"order_id": "${saga.id}", "amount": 0, "payment_method": "bonus"}
      },
      "compensation": {
        "service": "payments", "method": "POST", "path": "/payments/0/compensate", "body": {"undo_of": "${saga.do_key}"}
      }
    }
  ]
}
""".replace("SHOP", SHOP)
"""A workflow that does not ship: with items at once, a step left out, an inquiry, a pivot, and a step after it."""

NEWEST = {definition.name: definition for definition in shipped_definitions()}
WORKFLOWS: dict[str, tuple[SagaDefinition, dict[str, Any]]] = {
    **{name: (NEWEST[name], given) for name, given in EXAMPLE_INPUTS.items()},
    "hamper": (read_definition(json.loads(HAMPER)), {"products": [COFFEE, TEA], "amount": 19.9}),
}
LEFT_OUT = {"gift_wrap"}
"""Steps whose `when` is false for the example."""
HELP = By(actor="anna", reason="the participants are well again")
REJECTED, DONE, NOT_DONE = "rejected", "done", "not done"
FAULTS = {
    REJECTED: {"fault": "fail", "status": 409},
    DONE: {"fault": "answer_lost"},
    NOT_DONE: {"fault": "reset"},
}
"""What strikes a do, each time that it is tried: refused; executed with no answer; not executed with no answer."""
Effect = tuple[str, str]
"""A key without the saga's id, and `do` or `undo`."""


def called_by(definition: SagaDefinition) -> set[str]:
    """The services that a workflow calls."""
    return {request.service for step in definition.steps for request in step.requests}


def steps_of(wanted: Any) -> list[Any]:
    """(workflow, step) of every step with an HTTP call of which `wanted` is true."""
    return [
        pytest.param(name, index, id=f"{name}-{step.name}")
        for name, (definition, _) in WORKFLOWS.items()
        for index, step in enumerate(definition.steps)
        if isinstance(step.action, Request) and step.name not in LEFT_OUT and wanted(definition, index)
    ]


def past_pivot(definition: SagaDefinition, index: int) -> bool:
    """Whether a point of no return comes before this step."""
    return any(step.pivot for step in definition.steps[:index])


def goes_through(definition: SagaDefinition, index: int, fault: str) -> bool:
    """Whether a saga that meets this fault ends completed, once somebody has helped where it parked."""
    step = definition.steps[index]
    if past_pivot(definition, index):
        return True
    if fault == REJECTED:
        return False
    return fault == DONE if step.inquiry else step.pivot


@pytest.fixture(scope="module")
def participants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Participant]]:
    """Every reference service that a workflow calls, as a process."""
    known, directory = reference_services(), tmp_path_factory.mktemp("participants")
    called = {service for definition, _ in WORKFLOWS.values() for service in called_by(definition)}
    running = {}
    try:
        for name in sorted(called & set(known)):
            running[name] = Participant(name, directory, "--faults")
        yield running
    finally:
        for participant in running.values():
            participant.kill()


@dataclass
class Bench:
    """One saga of one workflow, its engine, and its participants as they were seeded."""

    definition: SagaDefinition
    given: dict[str, Any]
    participants: dict[str, Participant]
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        called = called_by(self.definition)
        self.participants = {name: each for name, each in self.participants.items() if name in called}
        for name, participant in self.participants.items():
            participant.call("DELETE", "/_faults")
            seed_again(Path(participant.database), reference_services()[name].seed)
        definitions = DefinitionStore([self.definition])
        definitions.register()
        urls = {name: participant.url for name, participant in self.participants.items()}
        self.engine = replace(
            bootstrap.engine(),
            store=PostgresSagaStore(definitions),
            definitions=definitions,
            participants=HttpParticipants(urls, "a-key"),
            clock=self.clock,
            max_retries=2,
        )

    def fault(self, place: str, **rule: Any) -> None:
        """Script a fault of the call whose key ends so, `step[item]:do`, wherever it goes."""
        for participant in self.participants.values():
            answer = participant.call("POST", "/_faults", {"match": {"key": f":{place}"}, **rule})
            assert answer.status_code == 201, answer.text

    def struck(self) -> int:
        """How many calls a fault has struck."""
        return sum(rule["used"] for each in self.participants.values() for rule in each.get("/_faults")["rules"])

    def recover(self) -> None:
        for participant in self.participants.values():
            participant.call("DELETE", "/_faults")

    def run(self) -> Saga:
        """Start the saga, and see it through until nothing moves by itself any more."""
        request = StartRequest(workflow=self.definition.name, input=self.given, correlation_id="every-workflow")
        return self.rest(self.engine.start(request))

    def rest(self, saga: Saga) -> Saga:
        """Workers come round whenever something is due."""
        for _ in range(200):
            saga = self.engine.store.load(saga.id)
            if saga.resting:
                return saga
            due_at = self.engine.store.next_due()
            assert due_at is not None, "the saga was lost"
            self.clock.time = max(self.clock.time + timedelta(milliseconds=1), due_at)
            lease, claimed = claim_due(self.engine, 10)
            for one in claimed:
                assert drive(self.engine, one, lease)
        raise AssertionError(f"{saga.status} {saga.state} is never at rest")

    def act(self, saga: Saga, act: Any) -> Saga:
        """A person acts, and workers go on from there."""
        return self.rest(Operations(self.engine).act(saga.id, act, HELP))

    def helped(self, saga: Saga) -> Saga:
        """The participants are well again, and somebody retries a saga that was parked."""
        self.recover()
        return self.act(saga, Saga.retry) if saga.status is SagaStatus.STUCK else saga

    def effects(self, saga: Saga) -> Counter[Effect]:
        """What was really done, which balances: nothing twice, no undo without its do, and all of it given back."""
        found: Counter[Effect] = Counter()
        amounts: dict[tuple[str, str], set[tuple[str, float]]] = {}
        for name, participant in self.participants.items():
            for row in participant.get(f"/_ledger?saga_id={saga.id}")["effects"]:
                place = row["key"].partition(":")[2]
                found[place, row["operation"]] += 1
                amounts.setdefault((name, place), set()).add((row["subject"], row["quantity"]))
        assert set(found.values()) <= {1}
        assert {place for place, operation in found if operation == "undo"} <= self.done(found)
        assert all(len(known) == 1 for known in amounts.values()), amounts
        return found

    @staticmethod
    def done(effects: Counter[Effect]) -> set[str]:
        return {place for place, operation in effects if operation == "do"}

    def ended(self, saga: Saga, *, completed: bool) -> Counter[Effect]:
        """The saga is done with all that belongs to it, or undone to the last effect."""
        effects = self.effects(saga)
        undone = {place for place, operation in effects if operation == "undo"}
        if completed:
            assert (saga.status, saga.state) == (SagaStatus.COMPLETED, self.definition.completed_state)
            assert undone == set()
            assert self.done(effects) == set(expected(self)[1])
        else:
            assert saga.status in {SagaStatus.COMPENSATED, SagaStatus.FAILED}
            assert saga.failure
            assert undone == self.done(effects)
        return effects

    def place(self, index: int) -> str | None:
        """The last call of a step: `step`, or `step[item]`; None when its input leaves the step out."""
        return expected(self)[0].get(self.definition.steps[index].name)


def seed_again(path: Path, seed: Any) -> None:
    """A service's data as on its first day: a bet slip is cashed out once, a seat is sold once."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        database.execute("BEGIN IMMEDIATE")
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for (name,) in tables.fetchall():
            database.execute(f'DELETE FROM "{name}"')
        for statement, rows in seed:
            database.executemany(statement, rows)
        database.execute("COMMIT")


_EXPECTED: dict[str, tuple[dict[str, str], list[str]]] = {}


def expected(bench: Bench) -> tuple[dict[str, str], list[str]]:
    """Of a saga with which nothing goes wrong: the last call of each step, and the calls that had an effect."""
    name = bench.definition.name
    if name not in _EXPECTED:
        well = Bench(bench.definition, bench.given, bench.participants)
        saga = well.run()
        assert saga.status is SagaStatus.COMPLETED, (saga.failure, saga.parked_reason)
        items = [(event.step, event.item) for event in saga.history if event.action == "do"]
        places = {step: step if item is None else f"{step}[{item}]" for step, item in sorted(set(items), key=str)}
        _EXPECTED[name] = places, sorted(well.done(well.effects(saga)))
    return _EXPECTED[name]


@pytest.fixture
def bench(db: None, participants: dict[str, Participant], workflow: str) -> Bench:
    expected(Bench(*WORKFLOWS[workflow], participants))
    return Bench(*WORKFLOWS[workflow], participants)  # what the exemplary saga took is there again


def test_every_shipped_workflow_whose_participants_are_here_is_tested():
    known = set(reference_services())
    runnable = {
        name
        for name, whole in NEWEST.items()
        if all(isinstance(step.action, Request) and step.action.service in known for step in whole.steps)
    }
    assert runnable <= set(EXAMPLE_INPUTS) <= set(NEWEST)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_it_goes_through(bench):
    saga = bench.run()
    effects = bench.ended(saga, completed=True)
    effective = {step.name for at, step in enumerate(bench.definition.steps) if not step.safe and bench.place(at)}
    assert {place.split(":")[0].split("[")[0] for place, _ in effects} == effective


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("workflow", "index"), steps_of(lambda *_: True))
def test_a_step_that_is_refused_or_not_answered(bench, index, fault):
    bench.fault(f"{bench.place(index)}:do", **FAULTS[fault])
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
    place = bench.place(index)
    bench.fault(f"{place}:do", **FAULTS[fault])
    bench.fault(f"{place}:inquire", fault="fail", status=503)
    saga = bench.run()
    assert saga.status is SagaStatus.STUCK
    assert all(operation == "do" for _, operation in bench.effects(saga)), "nothing is guessed"
    bench.ended(bench.helped(saga), completed=goes_through(bench.definition, index, fault))


def fails_to_undo(bench: Bench, index: int, **rule: Any) -> Saga:
    """The step is done and has to be undone, which fails: a later step is refused, or a person takes it all back."""
    bench.fault(f"{bench.place(index)}:undo", **rule)
    places = [bench.place(later) for later in range(index + 1, len(bench.definition.steps))]
    following = next(filter(None, places), None)
    if following is None:
        return bench.act(bench.run(), Saga.compensate)
    bench.fault(f"{following}:do", **FAULTS[REJECTED])
    return bench.run()


UNDOABLE = steps_of(lambda whole, at: whole.steps[at].undoable and not past_pivot(whole, at))


@pytest.mark.parametrize(("workflow", "index"), UNDOABLE)
def test_an_undo_that_fails_is_repeated_until_it_is_done(bench, index):
    saga = fails_to_undo(bench, index, fault="fail", status=500, times=3)
    bench.ended(saga, completed=False)


@pytest.mark.parametrize(("workflow", "index"), UNDOABLE)
def test_an_undo_whose_answer_is_lost_is_one_undo(bench, index):
    saga = fails_to_undo(bench, index, fault="answer_lost", times=2)
    bench.ended(saga, completed=False)


@pytest.mark.parametrize(("workflow", "index"), UNDOABLE)
def test_an_undo_that_is_given_up_parks_the_saga_until_somebody_helps(bench, index):
    saga = fails_to_undo(bench, index, fault="fail", status=500)
    assert saga.status is SagaStatus.STUCK
    assert saga.debts()[0].split("[")[0] == bench.definition.steps[index].name
    bench.ended(bench.helped(saga), completed=False)


@pytest.mark.parametrize("workflow", [name for name, (whole, _) in WORKFLOWS.items() if not past_pivot(whole, 99)])
def test_a_completed_saga_is_taken_back_whole(bench):
    saga = bench.act(bench.run(), Saga.compensate)
    bench.ended(saga, completed=False)
