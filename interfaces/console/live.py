"""When an open page must be drawn again: asked once a second of the database, for all viewers of a process together.

A page has a part that is live. Its browser asks for that part every two seconds and says what it shows already; as long
as what the page is about has not changed, the answer is empty and costs no question: one saga, or all that there is.
"""

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import get_language

from interfaces.platform import platform

BETWEEN_QUESTIONS = 1.0
"""Seconds for which the answer to "has anything changed?" is taken for what it is now."""
RATHER_REST, LONGEST_REST = 20.0, 5.0
"""A question or drawing that takes long is repeated after so many times as long, and so many seconds at most."""
DEAR = 0.2
"""Seconds that a drawing may take before it rests."""
FORGOTTEN = 10.0
"""Seconds after which a subject that no browser has asked for is asked about no more."""
STALE = 10.0
"""Seconds after which a part is drawn again though nothing has changed: by time alone a call is late, a lease ends.
A part that says that it is `settled` is not."""
MOST_BYTES = 16_000_000
"""Of the parts that a process keeps; which was looked at least lately goes first."""

_clock = time.monotonic
Subject = UUID | None
"""What a page is about: the saga, or None for all sagas, remedies and workflows."""


class Pulse:
    """What the database said last of each subject that somebody looks at: a text that changes when the subject does.

    All of them are asked about together, once a second and only by who needs an answer.
    """

    def __init__(
        self, read: Callable[[Collection[Subject]], Mapping[Subject, str]], clock: Callable[[], float]
    ) -> None:
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._marks: dict[Subject, str] = {}
        self._watched: dict[Subject, float] = {}
        self._until = -1.0

    def mark(self, subject: Subject) -> str:
        """The text, about a second old at most."""
        with self._lock:
            now = self._clock()
            self._watched[subject] = now
            if now >= self._until:
                self._ask(now)
            elif subject not in self._marks:
                self._marks[subject] = self._read([subject]).get(subject, "")
            return self._marks[subject]

    def fresh(self, subject: Subject) -> str:
        """The text as it is now."""
        mark = self._read([subject]).get(subject, "")
        with self._lock:
            self._watched[subject], self._marks[subject] = self._clock(), mark
        return mark

    def _ask(self, now: float) -> None:
        self._watched = {each: asked for each, asked in self._watched.items() if now - asked < FORGOTTEN}
        found = self._read(self._watched)
        self._marks = {each: found.get(each, "") for each in self._watched}
        answered = self._clock()
        self._until = answered + max(BETWEEN_QUESTIONS, min((answered - now) * RATHER_REST, LONGEST_REST))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A part as it was drawn; `mark` was read before what it shows, so it shows at least that much."""

    html: str
    digest: str
    size: int
    mark: str
    until: float
    rests: float = 0.0
    """Until when it is good enough for who has one already: the dearer the drawing, the longer."""


class Parts:
    """The parts that were drawn, of which those that are looked at are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Drawn] = OrderedDict()
        self._bytes = 0
        self._turns: WeakValueDictionary[Hashable, _Turn] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: Hashable, mark: str, *, fresh: bool = True) -> Drawn | None:
        """The part, if what it shows has not changed; or, unless it must be fresh, while it rests."""
        with self._lock:
            kept, now = self._kept.get(key), _clock()
            if kept is None or not ((kept.mark == mark and now < kept.until) or (not fresh and now < kept.rests)):
                return None
            self._kept.move_to_end(key)
            return kept

    def put(self, key: Hashable, drawn: Drawn) -> None:
        """Keep it, and let go those that nobody has looked at for longest."""
        with self._lock:
            self._drop(key)
            self._kept[key] = drawn
            self._bytes += drawn.size
            while self._bytes > MOST_BYTES:
                self._drop(next(iter(self._kept)))

    def turn(self, key: Hashable) -> "_Turn":
        """Who holds it draws the part; whoever comes meanwhile waits, and finds it drawn."""
        with self._lock:
            return self._turns.setdefault(key, _Turn())

    def clear(self) -> None:
        """Keep none."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _drop(self, key: Hashable) -> None:
        if dropped := self._kept.pop(key, None):
            self._bytes -= dropped.size


class _Turn:
    """A lock that goes with the last who waits for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def _read(subjects: Collection[Subject]) -> dict[Subject, str]:
    queries, ids = platform().queries, [subject for subject in subjects if subject]
    found: dict[Subject, str] = {**queries.standings(ids)} if ids else {}
    return {**found, None: queries.mark()} if None in subjects else found


_pulse = Pulse(_read, lambda: _clock())  # noqa: PLW0108 - a test puts another clock in its place
_drawn = Parts()


def live_page(
    request: HttpRequest,
    name: str,
    build: Callable[[], dict[str, Any]],
    around: Callable[[], dict[str, Any]] = dict,
    of: Subject = None,
) -> HttpResponse:
    """The page `console/<name>.html` around its live part `console/<name>_live.html`, or that part alone, or nothing.

    `build` reads what the part shows: what is the same for everybody of these roles at this address and language, with
    `settled` when none of it changes by time alone. `around` reads what the page shows beside it, once.
    """
    shown = request.GET.get("live")
    drawn = _part(request, name, build, of, fresh=shown is None)
    if shown is None:
        whole = {**around(), "caller": request.caller, "live": _framed(request, drawn)}
        return render(request, f"console/{name}.html", whole)
    if shown == drawn.digest:
        return HttpResponse(status=204)
    return HttpResponse(_framed(request, drawn))


def _part(
    request: HttpRequest, name: str, build: Callable[[], dict[str, Any]], subject: Subject, *, fresh: bool
) -> Drawn:
    key = (name, request.path, _query(request), get_language(), request.caller.roles)
    mark = _pulse.fresh(subject) if fresh else _pulse.mark(subject)
    if kept := _drawn.get(key, mark, fresh=fresh):
        return kept
    turn = _drawn.turn(key)
    with turn.lock:
        return _drawn.get(key, mark, fresh=fresh) or _draw(request, name, build, key, mark)


def _draw(request: HttpRequest, name: str, build: Callable[[], dict[str, Any]], key: Hashable, mark: str) -> Drawn:
    begun, shown = _clock(), build()
    html = render_to_string(f"console/{name}_live.html", {**shown, "caller": request.caller}, request)
    content = html.encode()
    ended = _clock()
    rest = max(ended - begun - DEAR, 0.0) * RATHER_REST
    until = math.inf if shown.get("settled") else ended + max(rest, STALE)
    digest = hashlib.sha256(content).hexdigest()[:16]
    drawn = Drawn(html, digest, len(content), mark, until, rests=ended + min(rest, LONGEST_REST))
    _drawn.put(key, drawn)
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
