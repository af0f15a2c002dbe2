"""What a stored saga looks like: one of each kind, made by the engine itself from the shipped workflows.

A kind is a workflow and a way to end, or to be under way. The engine drives one saga of each, with answers that are
made up; scale_data.py has PostgreSQL copy it by the hundred thousand. So every copy is one that the service can read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from domain.calls import Task
from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import Action, SagaEvent
from domain.operations import By
from domain.outcomes import CallFacts, Outcome, Rejected, Succeeded, Unavailable
from domain.progress import Origin
from interfaces.examples import EXAMPLE_INPUTS

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
MODEL_ID = UUID("01890000-0000-7000-8000-000000000001")
"""Of the one saga that the others are copies of."""
CALL = timedelta(milliseconds=12)
"""From one event to the next."""
ANSWER = {
    "quantite_disponible": 500,
    "nom": "Café en grains 1 kg",
    "prix": "12.50",
    "reservation_id": "r-1",
    "commande_id": "c-1",
    "eligible": True,
    "odds": "1.85",
    "amount": "42.00",
    "quote_id": "q-1",
    "transaction_id": "t-1",
    "liability_id": "l-1",
    "status": "confirmed",
    "id": 7,
    "seat_id": "12C",
    "points_deducted": 100,
    "discount": "10.00",
    "booking_reference": "BX-1",
    "partner_id": "p-1",
    "type": "alliance_created",
    "alliance_id": "a-1",
}
"""An answer with all that any step of a shipped workflow reads."""
REFUSALS = {
    "commandes": "le client 4711 est bloqué",
    "cashout_flow": "bet slip 123 is settled already",
    "flight_booking": "the flight is closed for booking",
    "order_processing": "the restaurant has closed its kitchen",
    "partner_creation": "el socio no cumple los requisitos",
}
OWED = ("what should be undone is not known here", "closed for the night, ask the manager")
"""Why undos were given up, for two groups of trouble a workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one saga's participants answer: success, but for the steps that are named."""

    refused: str | None = None
    busy: str | None = None
    """This step's first attempt is put off by its participant."""
    patient: bool = False
    """Whether the saga is driven on when its retry is due."""
    undo: Outcome = field(default_factory=lambda: Succeeded({}))
    heard: bool = True
    """Whether the messages come that it waits for."""

    def answer(self, task: Task) -> Outcome:
        """To one call."""
        if task.attempt.action is Action.UNDO:
            return self.undo
        if task.step == self.refused:
            return Rejected(REFUSALS[task.workflow])
        if task.step == self.busy and task.attempt.number == 1:
            return Unavailable("the participant is busy", 5.0)
        return Succeeded(ANSWER)

    def message(self, workflow: str, step: str) -> dict[str, Any]:
        """That a saga waits for."""
        return {"type": "alliance_failed", "reason": REFUSALS[workflow]} if step == self.refused else ANSWER


@dataclass(frozen=True, slots=True)
class Kind:
    """One saga as the engine left it, and how many of a thousand are like it."""

    share: int
    saga: Saga
    events: list[SagaEvent] = field(repr=False)


# Of a thousand: completed, completed after a retry, compensated, failed. The shops have most of the sagas.
SHARES = {
    "commandes": (440, 25, 20, 15),
    "cashout_flow": (220, 10, 10, 10),
    "flight_booking": (90, 5, 10, 5),
    "order_processing": (80, 5, 10, 5),
    "partner_creation": (30, 2, 5, 3),
}


def finished(definitions: Sequence[SagaDefinition]) -> list[Kind]:
    """The kinds of finished sagas; their shares come to a thousand."""
    kinds = []
    for definition in definitions:
        first, last = definition.steps[0].name, definition.steps[-1].name
        scripts = (Script(), Script(busy=first, patient=True), Script(refused=last), Script(refused=first))
        shares = SHARES[definition.name]
        kinds += [Kind(share, *_driven(definition, script)) for share, script in zip(shares, scripts, strict=True)]
    return kinds


def parked(definitions: Sequence[SagaDefinition]) -> list[Kind]:
    """The kinds of parked sagas, each with an undo that is owed."""
    return [
        Kind(1, *_driven(definition, Script(refused=definition.steps[-1].name, undo=Rejected(reason))))
        for definition in definitions
        for reason in OWED
    ]


def under_way(definitions: Sequence[SagaDefinition]) -> list[Kind]:
    """The kinds of live sagas that are not parked: before a retry, undoing, waiting for a message, paused."""
    kinds = []
    for definition in definitions:
        first, last = definition.steps[0].name, definition.steps[-1].name
        scripts = [Script(busy=first), Script(refused=last, undo=Unavailable("the participant is busy"))]
        if any(step.awaits for step in definition.steps):
            scripts.append(Script(heard=False))
        kinds += [Kind(1, *_driven(definition, script)) for script in scripts]
    saga, events = _driven(definitions[0], Script(busy=definitions[0].steps[0].name))
    paused = saga.pause(By(actor="anna", reason="the shop asked to hold it"), events[-1].at + CALL)
    return [*kinds, Kind(1, saga, events + paused)]


def _driven(definition: SagaDefinition, script: Script) -> tuple[Saga, list[SagaEvent]]:
    """A saga that is driven until it rests, or until it waits for what the script does not give."""
    (saga, events), now = Saga.start(definition, _origin(definition)), BEGUN
    while not saga.resting:
        now += CALL
        if tasks := saga.next_tasks(now):
            outcome = script.answer(tasks[0])
            events += saga.record(outcome, now, of=tasks[0], facts=_facts(tasks[0], outcome))
        elif saga.driverless and script.heard:
            events += saga.signal(script.message(definition.name, saga.waiting()[0].step), now)
        elif script.patient and (due_at := saga.wake_at()):
            now = due_at
        else:
            break
    return saga, events


def _origin(definition: SagaDefinition) -> Origin:
    return Origin(
        id=MODEL_ID,
        input=EXAMPLE_INPUTS[definition.name],
        correlation_id="",
        started_at=BEGUN,
        deadline_at=BEGUN + timedelta(seconds=definition.deadline or 30),
        max_retries=3,
    )


def _facts(task: Task, outcome: Outcome) -> CallFacts:
    status = {"succeeded": 200, "rejected": 409, "unavailable": 503}[outcome.kind]
    return CallFacts(task.service, task.method, status, CALL.total_seconds() / 2)
