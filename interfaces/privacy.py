"""Sagas as people see them: without what their workflow, or any, masks (domain/masking.py). Programs get all of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from domain.entities import Saga
from domain.events import SagaEvent
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


def masked_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sagas in a list: their rows but their inputs."""
    masks = masks_of([row for row in rows if row["error"]])
    return [_masked_row(row, masks.get(row["id"], hidden)) for row in rows]


def _masked_row(row: dict[str, Any], mask: Callable[[Any], Any]) -> dict[str, Any]:
    error = row["error"]
    shown = error and {**error, "reason": mask(error.get("reason"))}
    return {**{name: value for name, value in row.items() if name != "data"}, "error": shown}


def masked_history(saga: Saga, events: Sequence[SagaEvent] | None = None) -> list[dict[str, Any]]:
    """These events of this saga; all of them unless told."""
    mask = mask_of(saga)
    return [_masked_event(event_json(event), mask) for event in (saga.history if events is None else events)]


def masked_events(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events of any sagas, whose inputs and answers are read besides, all at once."""
    masks = masks_of(platform().queries.by_ids({event["saga_id"] for event in events}).values())
    return [_masked_event(event, masks.get(event["saga_id"], hidden)) for event in events]


def mask_of(saga: Saga) -> Callable[[Any], Any]:
    """What masks the values of this saga, and what repeats them in texts."""
    return _mask_at(saga, saga.seq)


@lru_cache(maxsize=16)
def _mask_at(saga: Saga, seq: int) -> Callable[[Any], Any]:  # noqa: ARG001 - a saga that has moved on has more answers
    return mask_for(saga.definition, saga.origin.input, *(event.output for event in saga.history if event.output))


def masks_of(rows: Collection[Mapping[str, Any]]) -> dict[UUID, Callable[[Any], Any]]:
    """What masks the values of each listed saga, by its id; what its steps gave is read for all of them at once."""
    given = platform().queries.outputs([row["id"] for row in rows])
    return {row["id"]: _mask_of_row(row, given.get(row["id"], ())) for row in rows}


def _mask_of_row(row: Mapping[str, Any], outputs: Sequence[Any]) -> Callable[[Any], Any]:
    try:
        definition = engine().definitions.version(row["workflow"], row["version"])
    except SagaError:
        return hidden  # of a later release: what it masks is not known here
    return mask_for(definition, row["data"]["input"], *outputs)


def _masked_event(event: dict[str, Any], mask: Callable[[Any], Any]) -> dict[str, Any]:
    return {**event, "reason": mask(event["reason"]), "output": mask(event["output"])}


def hidden(value: Any) -> Any:
    """What is shown of a saga of which nothing is known."""
    return value if value is None else MASK
