"""One saga: why it stands where it does, what was tried and answered, and what a person may do."""

import json
import re
from collections.abc import Callable, Iterable
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from application.operations import refusals, skips
from domain.entities import Saga
from domain.events import SagaEvent, SagaStatus
from interfaces.callers import CLIENT, OPERATOR, READER
from interfaces.console.access import page
from interfaces.console.drawing import state_svg
from interfaces.console.live import live_page
from interfaces.console.timeline import timeline
from interfaces.console.words import translated
from interfaces.platform import engine
from interfaces.presentation import seen_json
from interfaces.privacy import mask_of, masked_history, masked_saga
from interfaces.wire import JSONRenderer

MOST_EVENTS, MOST_ATTEMPTS = 60, 30
"""A longer history is shown from its end; the page of all events has all of it, as many at a time."""
MOST_TEXT = 20_000
"""Characters of the input, and of what the steps gave; all of it is at the API."""


@page(CLIENT, READER)
def saga(request: HttpRequest, saga_id: UUID) -> HttpResponse:
    """The saga, live until it has ended."""
    around = {"here": "sagas", "saga_id": saga_id}
    return live_page(request, "saga", lambda: _shown(saga_id), lambda: around, of=saga_id)


def _shown(saga_id: UUID) -> dict[str, Any]:
    seen, now = engine().store.look(saga_id), engine().clock.now()
    told = seen_json(seen, now)
    shown = masked_saga({**told, "explanation": translated(told["explanation"])}, seen.saga)
    return {
        "saga": shown,
        "texts": {name: _short(pretty(shown[name])) for name in ("input", "outputs") if shown[name]},
        "verbs": refusals(seen, now),
        "skips": skips(seen),
        "awaited": seen.saga.awaited_types() if seen.saga.status is SagaStatus.WAITING else (),
        "drawing": state_svg(seen.saga.definition, _passed(seen.saga), seen.saga.state),
        "timeline": timeline(seen.saga, now),
        "attempts": _attempts(seen.saga, reversed(seen.saga.history))[::-1],
        "events": masked_history(seen.saga, seen.saga.history[-MOST_EVENTS:]),
        "left_out": max(len(seen.saga.history) - MOST_EVENTS, 0),
        "operator": OPERATOR,
        "settled": seen.saga.finished,
    }


def _passed(saga: Saga) -> list[str]:
    """The states that it was in, in order; what merely stood longer is one."""
    return [state for state, __ in groupby(event.state for event in saga.history)]


@page(CLIENT, READER)
def events(request: HttpRequest, saga_id: UUID) -> HttpResponse:
    """A page of the whole history from an event on, with the calls that were answered in it."""
    saga = engine().store.load(saga_id)
    found = re.fullmatch(r"[0-9]{1,9}", request.GET.get("after", ""))
    after = int(found[0]) if found else 0
    chosen = saga.history[after : after + MOST_EVENTS]
    shown = {
        "here": "sagas",
        "caller": request.caller,
        "saga_id": saga_id,
        "attempts": _attempts(saga, chosen, MOST_EVENTS),
        "events": masked_history(saga, chosen),
        "all": len(saga.history),
        "earlier": max(after - MOST_EVENTS, 0) if after else None,
        "later": after + MOST_EVENTS if after + MOST_EVENTS < len(saga.history) else None,
    }
    return render(request, "console/saga_events.html", shown)


def _attempts(saga: Saga, events: Iterable[SagaEvent], most: int = MOST_ATTEMPTS) -> list[dict[str, Any]]:
    """Every answer among these, up to so many, with the request that it is of, as a person may see them."""
    mask = mask_of(saga)
    asked = ((event, request) for event in events if (request := saga.asked(event)))
    chosen = list(islice(asked, most))
    return [
        {
            **shown,
            "request": _line(request, mask),
            "body": pretty(mask(request["body"])),
            "answer": pretty(shown["output"]),
        }
        for (__, request), shown in zip(chosen, masked_history(saga, [event for event, __ in chosen]), strict=True)
    ]


def _line(request: dict[str, Any], mask: Callable[[Any], Any]) -> str:
    """Method, service and address."""
    query = "&".join(f"{name}={value}" for name, value in mask(request["query"]).items())
    return f"{request['method']} {request['service']}{mask(request['path'])}{f'?{query}' if query else ''}"


def _short(text: str) -> str:
    left = len(text) - MOST_TEXT
    return f"{text[:MOST_TEXT]}\n… {_('%(n)s characters more are at the API') % {'n': left}}" if left > 0 else text


def pretty(value: Any) -> str:
    """JSON for people; nothing for nothing."""
    return "" if value is None else json.dumps(json.loads(JSONRenderer().render(value)), indent=2, ensure_ascii=False)
