"""A saga as the engine's own API shows it."""

from dataclasses import asdict
from typing import Any

from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import SagaEvent


def listed_json(row: dict[str, Any]) -> dict[str, Any]:
    """A saga in a list: its row but its input; the whole saga costs a read of its history."""
    return {name: value for name, value in row.items() if name != "data"}


def saga_json(saga: Saga) -> dict[str, Any]:
    """The whole saga but its events, which have an address of their own."""
    origin, history = saga.origin, saga.history
    return {
        "id": saga.id,
        "workflow": saga.definition.name,
        "version": saga.definition.version,
        "tenant": origin.tenant,
        "correlation_id": origin.correlation_id,
        "status": saga.status,
        "state": saga.state,
        "error": saga.failure,
        "parked_reason": saga.parked_reason,
        "input": origin.input,
        "outputs": saga.outputs,
        "wake_at": saga.wake_at(),
        "deadline_at": saga.deadline_at,
        "created_at": origin.started_at,
        "updated_at": history[-1].at,
        "finished_at": saga.finished_at,
        "seq": saga.seq,
        "events": f"/api/sagas/transactions/{saga.id}/events/",
    }


def event_json(event: SagaEvent) -> dict[str, Any]:
    """One event; `duration` in seconds."""
    return {name: getattr(event, name) for name in SagaEvent.__slots__}


def definition_json(definition: SagaDefinition) -> dict[str, Any]:
    """A definition with its states and transitions, which follow from it."""
    states = {status.value: sorted(words) for status, words in definition.states_by_status().items()}
    return {**asdict(definition), "states": states, "transitions": sorted(definition.transitions())}
