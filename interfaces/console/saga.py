"""One saga: why it stands where it does, what was tried and answered, and what a person may do."""

import json
from collections.abc import Callable
from itertools import groupby
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from application.operations import refusals
from application.ports import Seen
from domain.entities import Saga
from domain.events import Action, SagaStatus
from interfaces.callers import CLIENT, OPERATOR, READER
from interfaces.console.access import page
from interfaces.console.drawing import state_svg
from interfaces.console.live import live_page
from interfaces.console.timeline import timeline
from interfaces.platform import engine
from interfaces.presentation import seen_json
from interfaces.privacy import mask_of, masked_history, masked_saga
from interfaces.wire import JSONRenderer

MOST_EVENTS = 500
"""A longer history is shown from its end; all of it is at the API."""


@page(CLIENT, READER)
def saga(request: HttpRequest, saga_id: UUID) -> HttpResponse:
    """The saga, live until it has ended."""
    around = {"here": "sagas", "saga_id": saga_id}
    return live_page(request, "saga", lambda: _shown(saga_id), lambda: around, of=saga_id)


def _shown(saga_id: UUID) -> dict[str, Any]:
    seen, now = engine().store.look(saga_id), engine().clock.now()
    shown = masked_saga(seen_json(seen, now), seen.saga)
    return {
        "saga": shown,
        "texts": {name: pretty(shown[name]) for name in ("input", "outputs") if shown[name]},
        "verbs": refusals(seen, now),
        "skips": skips(seen),
        "awaited": seen.saga.awaited_types() if seen.saga.status is SagaStatus.WAITING else (),
        "drawing": state_svg(seen.saga.definition, _passed(seen.saga), seen.saga.state),
        "timeline": timeline(seen.saga, now),
        "attempts": _attempts(seen.saga),
        "events": masked_history(seen.saga)[-MOST_EVENTS:],
        "left_out": max(len(seen.saga.history) - MOST_EVENTS, 0),
        "operator": OPERATOR,
        "settled": seen.saga.finished,
    }


def _passed(saga: Saga) -> list[str]:
    """The states that it was in, in order; what merely stood longer is one."""
    return [state for state, _ in groupby(event.state for event in saga.history)]


def skips(seen: Seen) -> list[dict[str, Any]]:
    """The steps and undos that could be taken as done by hand now: where the saga stands, and what it owes."""
    stands = seen.saga
    if stands.finished:
        return []
    undoing = SagaStatus.COMPENSATING in {stands.status, stands.held_from if stands.held else None}
    if undoing:
        return [{"action": Action.UNDO.value, "place": place} for place in stands.debts()]
    places = [waiting.place for waiting in stands.waiting()]
    if stands.failure and stands.failure.place not in places:
        places.append(stands.failure.place)
    return [{"action": Action.DO.value, "place": place} for place in places]


def _attempts(saga: Saga) -> list[dict[str, Any]]:
    """Every answer with the request that it is of, as a person may see them."""
    mask = mask_of(saga)
    found = []
    for event, shown in zip(saga.history, masked_history(saga), strict=True):
        request = saga.asked(event)
        if request:
            body, answer = mask(request["body"]), shown["output"]
            more = {"request": _line(request, mask), "body": _text(body), "answer": _text(answer)}
            found.append({**shown, **more})
    return found[-MOST_EVENTS:]


def _line(request: dict[str, Any], mask: Callable[[Any], Any]) -> str:
    """Method, service and address."""
    query = "&".join(f"{name}={value}" for name, value in mask(request["query"]).items())
    return f"{request['method']} {request['service']}{mask(request['path'])}{f'?{query}' if query else ''}"


def _text(value: Any) -> str:
    return "" if value is None else pretty(value)


def pretty(value: Any) -> str:
    """JSON for people."""
    return json.dumps(json.loads(JSONRenderer().render(value)), indent=2, ensure_ascii=False)
