"""Sagas as people see them: without what their workflow, or any, masks (domain/masking.py). Programs get all of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from domain.entities import Saga
from domain.exceptions import SagaError
from domain.masking import MASK, mask_for
from interfaces.platform import engine, platform
from interfaces.presentation import event_json

_TEXTS = ("explanation", "parked_reason")


def masked_saga(shown: dict[str, Any], saga: Saga) -> dict[str, Any]:
    """`seen_json` or `saga_json` of this saga. Its outputs stand under the names of steps, which mask nothing."""
    mask, failure = mask_of(saga), shown["error"]
    return {
        **shown,
        **{name: mask(shown[name]) for name in _TEXTS if name in shown},
        "error": failure and replace(failure, reason=mask(failure.reason)),
        "input": mask(shown["input"]),
        "business_ids": mask(shown["business_ids"]),
        "outputs": {step: mask(output) for step, output in shown["outputs"].items()},
    }


def masked_call(call: dict[str, Any], saga: Saga) -> dict[str, Any]:
    """`call_json` of a call of this saga."""
    mask = mask_of(saga)
    return {**call, **{name: mask(call[name]) for name in ("path", "query", "body")}}


def masked_row(row: dict[str, Any]) -> dict[str, Any]:
    """A saga in a list: its row but its input."""
    mask, error = mask_of_row(row), row["error"]
    shown = error and {**error, "reason": mask(error.get("reason"))}
    return {**{name: value for name, value in row.items() if name != "data"}, "error": shown}


def masked_history(saga: Saga) -> list[dict[str, Any]]:
    """All events of this saga."""
    mask = mask_of(saga)
    return [_masked_event(event_json(event), mask) for event in saga.history]


def masked_events(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events of any sagas, whose inputs are read besides, all at once."""
    sagas = platform().queries.by_ids({event["saga_id"] for event in events})
    masks = {saga_id: mask_of_row(row) for saga_id, row in sagas.items()}
    return [_masked_event(event, masks.get(event["saga_id"], hidden)) for event in events]


def mask_of(saga: Saga) -> Callable[[Any], Any]:
    """What masks the values of this saga, and what repeats them in texts."""
    return mask_for(saga.definition, saga.origin.input, *saga.outputs.values())


def mask_of_row(row: Mapping[str, Any]) -> Callable[[Any], Any]:
    """What masks the values of a listed saga."""
    try:
        definition = engine().definitions.version(row["workflow"], row["version"])
    except SagaError:
        return hidden  # of a later release: what it masks is not known here
    return mask_for(definition, row["data"]["input"])


def _masked_event(event: dict[str, Any], mask: Callable[[Any], Any]) -> dict[str, Any]:
    return {**event, "reason": mask(event["reason"]), "output": mask(event["output"])}


def hidden(value: Any) -> Any:
    """What is shown of a saga of which nothing is known."""
    return value if value is None else MASK
