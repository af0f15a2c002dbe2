"""A saga as the engine's own API shows it."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from application.explanation import explain, unsent
from application.operations import Preview
from application.ports import Publication, Seen
from domain.business_ids import business_ids
from domain.calls import Task
from domain.definition import Publish, Request, SagaDefinition, Step
from domain.entities import Saga
from domain.events import SagaEvent
from domain.lint import Finding

PUBLISH = "PUBLISH"
"""The `method` of what is no call but a message; its `service` is the topic."""


def listed_json(row: dict[str, Any]) -> dict[str, Any]:
    """A saga in a list: its row but its input, and its debts; the whole saga costs a read of its history."""
    return {name: value for name, value in row.items() if name not in {"data", "debts"}}


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
        "business_ids": business_ids(saga),
        "wake_at": saga.wake_at(),
        "deadline_at": saga.deadline_at,
        "created_at": origin.started_at,
        "updated_at": history[-1].at,
        "finished_at": saga.finished_at,
        "seq": saga.seq,
        "events": f"/api/sagas/transactions/{saga.id}/events/",
    }


def seen_json(seen: Seen, now: datetime) -> dict[str, Any]:
    """The saga with its driver, what it waits for, and why, in words."""
    driven = seen.driven_until is not None and not seen.saga.resting
    return {
        **saga_json(seen.saga),
        "explanation": explain(seen, now),
        "waiting_for": seen.saga.waiting(),
        "unsent": [asdict(message) for message in unsent(seen)],
        "owed": seen.saga.debts() if not seen.saga.finished else [],
        "driver": seen.owner if driven else None,
        "driven_until": seen.driven_until if driven else None,
    }


def call_json(call: Task | tuple[Step, Request | Publish]) -> dict[str, Any]:
    """A call that would go out. `certain`: complete; otherwise it depends on answers, and shows its templates."""
    if isinstance(call, tuple):
        step, request = call
        more = {"step": step.name, "item": None, "key": None, "certain": False}
        if isinstance(request, Publish):
            return {**more, "service": request.topic, "method": PUBLISH, "path": "", "query": {}, "body": request.body}
        return {**more, **_sent(request)}
    return {"step": call.step, "item": call.item, "key": call.key, "certain": True, **_sent(call)}


def _sent(request: Request | Task) -> dict[str, Any]:
    return {name: getattr(request, name) for name in ("service", "method", "path", "query", "body")}


def preview_json(preview: Preview) -> dict[str, Any]:
    """What an act would do: how the saga would stand, and the calls that would follow if each succeeded.

    `seq` is that of the saga as it stands.
    """
    saga = preview.saga
    return {
        "preview": True,
        "seq": preview.seq,
        "status": saga.status,
        "state": saga.state,
        "calls": [call_json(call) for call in preview.calls],
    }


def event_json(event: SagaEvent) -> dict[str, Any]:
    """One event; `duration` in seconds."""
    return {name: getattr(event, name) for name in SagaEvent.__slots__}


def definition_json(
    definition: SagaDefinition, findings: Iterable[Finding], publication: Publication | None
) -> dict[str, Any]:
    """A definition with its states and transitions, which follow from it, what may not be meant in it, and who stored
    it.
    """
    states = {status.value: sorted(words) for status, words in definition.states_by_status().items()}
    return {
        **asdict(definition),
        "states": states,
        "transitions": sorted(definition.transitions()),
        "findings": [asdict(finding) for finding in findings],
        "published_by": publication.by if publication else None,
        "published_at": publication.at if publication else None,
    }
