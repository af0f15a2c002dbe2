"""A saga's calls against time: a row for each step and undo, a bar for each attempt, to scale."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import floor, log10
from typing import Any

from domain.decisions import ANSWERS
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent
from domain.outcomes import Succeeded

WIDTH = 1000
"""Units from the saga's start to its end; while it is live, to a round time from now on."""
THINNEST = 4.0
MOST_ITEMS, MOST_BARS, MOST_MARKS = 10, 50, 100
"""Rows of one step and action, bars of a row, and marks that are drawn: of bars and marks the last."""


@dataclass(slots=True)
class Row:
    """What was tried for one step, item and action."""

    place: str
    action: str
    bars: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    more: int = 0
    """Rows of the same step that are left out after this one."""

    @property
    def well(self) -> bool:
        """Whether its last call was done."""
        return bool(self.bars) and self.bars[-1]["outcome"] == Succeeded.kind


def timeline(saga: Saga, now: datetime) -> dict[str, Any]:
    """`{"rows": [Row], "marks": [...], "seconds": whole}`; a bar has `x` and `width` in units of `WIDTH`."""
    start, last = saga.origin.started_at, saga.history[-1].at
    whole = max((last - start).total_seconds(), 0.001)
    if not saga.resting:
        whole = _round_up(max((now - start).total_seconds(), whole))
    end = start + timedelta(seconds=whole)
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
        if begun <= (last if saga.resting else max(now, last)) and not saga.finished:
            rows[key].bars.append(_bar(begun, end, start, whole, None))
    return {"rows": _few(rows.values()), "marks": _marks(saga, start, whole), "seconds": whole}


def _round_up(seconds: float) -> float:
    """To one, two or five of a power of ten, from a second on: the scale of what goes on seldom changes."""
    power: float = 10 ** floor(log10(max(seconds, 1.0)))
    return next(power * each for each in (1, 2, 5, 10) if power * each >= seconds)


def _few(rows: Iterable[Row]) -> list[Row]:
    """Of each step and action some, those first whose last call was not done; the last of them says how many more."""
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        row.bars = row.bars[-MOST_BARS:]
        kinds.setdefault((row.place.partition("[")[0], row.action), []).append(row)
    shown: list[Row] = []
    for alike in kinds.values():
        chosen = {id(row) for row in sorted(alike, key=lambda row: row.well)[:MOST_ITEMS]}
        few = [row for row in alike if id(row) in chosen]
        few[-1].more = len(alike) - len(few)
        shown += few
    return shown


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
        "seconds": seconds if answer else None,
    }


def _marks(saga: Saga, start: datetime, whole: float) -> list[dict[str, Any]]:
    """When it turned back, was parked, changed drivers, or a person acted."""
    told = {EventType.COMPENSATION_STARTED, EventType.SAGA_PARKED, EventType.DRIVER_REPLACED, EventType.DEADLINE_PASSED}
    events = [event for event in saga.history[1:] if event.type in told or event.actor]
    return [
        {"x": round((event.at - start).total_seconds() / whole * WIDTH, 1), "event": event}
        for event in events[-MOST_MARKS:]
    ]
