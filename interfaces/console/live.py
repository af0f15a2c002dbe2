"""When an open page must be drawn again: asked once a second of the database, for all viewers of a process together.

A page has a part that is live. Its browser asks for that part every two seconds and says what it shows already; as long
as the database has written nothing, the answer is empty and costs no question.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import get_language

from interfaces.platform import platform

BETWEEN_QUESTIONS = 1.0
"""Seconds for which the answer to "has anything been written?" is taken for what it is now."""
STALE = 10.0
"""Seconds after which a part that tells how late something is is drawn again though nothing was written."""
_MOST_KEPT = 200


class Pulse:
    """The database's own word for "what has been written until now": a text that changes with every write."""

    def __init__(self, read: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._mark, self._until = "", -1.0

    def mark(self) -> str:
        """The text, at most a second old."""
        with self._lock:
            if self._clock() >= self._until:
                self._mark = self._read()
                self._until = self._clock() + BETWEEN_QUESTIONS
            return self._mark


@dataclass(frozen=True, slots=True)
class Drawn:
    """A part as it was drawn; `mark` was read before what it shows, so it shows at least that much."""

    html: str
    digest: str
    mark: str
    until: float


def _read() -> str:
    return platform().queries.mark()


_pulse = Pulse(_read)
_drawn: OrderedDict[tuple[Any, ...], Drawn] = OrderedDict()
_lock = threading.Lock()


def live_page(
    request: HttpRequest,
    name: str,
    build: Callable[[], dict[str, Any]],
    around: Callable[[], dict[str, Any]] = dict,
) -> HttpResponse:
    """The page `console/<name>.html` around its live part `console/<name>_live.html`, or that part alone, or nothing.

    `build` reads what the part shows: what is the same for everybody of these roles at this address and language.
    `around` reads what the page shows beside it, once.
    """
    shown = request.GET.get("live")
    drawn = _part(request, name, build, fresh=shown is None)
    if shown is None:
        whole = {**around(), "caller": request.caller, "live": _framed(request, drawn)}
        return render(request, f"console/{name}.html", whole)
    if shown == drawn.digest:
        return HttpResponse(status=204)
    return HttpResponse(_framed(request, drawn))


def _part(request: HttpRequest, name: str, build: Callable[[], dict[str, Any]], *, fresh: bool) -> Drawn:
    key = (name, request.path, _query(request), get_language(), request.caller.roles)
    mark = platform().queries.mark() if fresh else _pulse.mark()
    with _lock:
        kept = _drawn.get(key)
    now = time.monotonic()
    if kept and kept.mark == mark and now < kept.until:
        return kept
    html = render_to_string(f"console/{name}_live.html", {**build(), "caller": request.caller}, request)
    drawn = Drawn(html, hashlib.sha256(html.encode()).hexdigest()[:16], mark, now + STALE)
    with _lock:
        _drawn[key] = drawn
        _drawn.move_to_end(key)
        if len(_drawn) > _MOST_KEPT:
            _drawn.popitem(last=False)
    return drawn


def _framed(request: HttpRequest, drawn: Drawn) -> str:
    query = _query(request)
    address = f"{request.path}?{f'{query}&' if query else ''}live={drawn.digest}"
    return render_to_string("console/live.html", {"address": address, "html": drawn.html})


def _query(request: HttpRequest) -> str:
    """What the address asks for, without what is about the asking."""
    query = request.GET.copy()
    query.pop("live", None)
    return query.urlencode()
