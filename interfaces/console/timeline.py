"""A saga's calls against time: a row for each step and undo, a bar for each attempt, to scale."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from domain.decisions import ANSWERS
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent

WIDTH = 1000
"""Units from the saga's start to its end, or to now."""
THINNEST = 4.0


@dataclass(slots=True)
class Row:
    """What was tried for one step, item and action."""

    place: str
    action: str
    bars: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def timeline(saga: Saga, now: datetime) -> dict[str, Any]:
    """`{"rows": [Row], "marks": [...], "seconds": whole}`; a bar has `x` and `width` in units of `WIDTH`."""
    start = saga.origin.started_at
    end = max(saga.finished_at or (saga.history[-1].at if saga.resting else now), saga.history[-1].at)
    whole = max((end - start).total_seconds(), 0.001)
    rows: dict[tuple[str, Action], Row] = {}
    since: dict[tuple[str, Action], datetime] = {}
    for event in saga.history:
        if event.step is None or event.action is None:
            continue
        place = event.step if event.item is None else f"{event.step}[{event.item}]"
        key = (place, event.action)
        row = rows.setdefault(key, Row(place, event.action))
        if event.due_at and event.type in {EventType.ATTEMPT_SCHEDULED, EventType.ATTEMPT_POSTPONED}:
            since[key] = _begun(event)
        elif event.type in ANSWERS:
            begun = event.at - timedelta(seconds=event.duration) if event.duration else since.get(key, event.at)
            row.bars.append(_bar(max(begun, start), event.at, start, whole, event))
            row.seconds += (event.at - begun).total_seconds()
            since.pop(key, None)
            if event.due_at:
                since[key] = event.due_at
    for key, begun in since.items():
        if begun <= end and not saga.finished:
            rows[key].bars.append(_bar(begun, end, start, whole, None))
    return {"rows": list(rows.values()), "marks": _marks(saga, start, whole), "seconds": whole}


def _begun(event: SagaEvent) -> datetime:
    """Since when there may be an answer: a wait begins with the event, and is over at `due_at`."""
    return event.at if event.action is Action.AWAIT else event.due_at or event.at


def _bar(begun: datetime, ended: datetime, start: datetime, whole: float, answer: SagaEvent | None) -> dict[str, Any]:
    seconds = (ended - begun).total_seconds()
    width = max(seconds / whole * WIDTH, THINNEST)
    return {
        "x": round(min((begun - start).total_seconds() / whole * WIDTH, WIDTH - width), 1),
        "width": round(width, 1),
        "outcome": answer.outcome if answer else "open",
        "attempt": answer.attempt if answer else None,
        "seconds": seconds,
    }


def _marks(saga: Saga, start: datetime, whole: float) -> list[dict[str, Any]]:
    """When it turned back, was parked, changed drivers, or a person acted."""
    told = {EventType.COMPENSATION_STARTED, EventType.SAGA_PARKED, EventType.DRIVER_REPLACED, EventType.DEADLINE_PASSED}
    return [
        {"x": round((event.at - start).total_seconds() / whole * WIDTH, 1), "event": event}
        for event in saga.history[1:]
        if event.type in told or event.actor
    ]
