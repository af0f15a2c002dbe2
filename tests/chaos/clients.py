"""The clients: threads that place the plan's orders over real HTTP, each in its manner, and note what they are told.

A client that is told nothing final is like a customer whose line went dead: it knows nothing, and nothing is held
against the service for it. What it was told, it was promised.
"""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.chaos.plan import Manner, Script
from tests.chaos.system import OWN_KEY
from tests.chaos.workloads import ENGINE, Api

LONGEST_WAIT = 45.0
"""Seconds that a client waits for an answer; the service promises one within 30 and a little."""
UNTIL_BACK = 90.0
"""Seconds that a client tries to reach a service that is away."""
FINAL = frozenset({201, 409, 502, 504})
REPEATS, IN_VAIN = 30, 3
"""How often a client comes back that wants to know the end; and where it is never told."""


@dataclass(frozen=True, slots=True)
class Told:
    """One answer that a client got."""

    status: int
    saga_id: str | None
    status_word: str | None
    """`status`, where the API has one; it may be the engine's word."""
    state: str | None
    code: str | None
    """Of an error (RFC 9457)."""


@dataclass(slots=True)
class Note:
    """What became of one order, as its client knows it."""

    script: Script
    key: str | None
    answers: list[Told] = field(default_factory=list)
    silences: int = 0
    """Requests that ended without an answer."""


class Clients:
    """The load: `run` starts the threads, `join` waits for them."""

    def __init__(self, port: int, threads: int, pace: float | None) -> None:
        self._port, self._threads, self._pace = port, threads, pace
        self.notes: list[Note] = []
        self.stop = threading.Event()
        self.hurry = False
        """While true the pace does not matter: every client is busy."""
        self._issued = 0
        self._lock = threading.Lock()
        self._running: list[threading.Thread] = []

    @property
    def issued(self) -> int:
        """How many orders have been begun."""
        return self._issued

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._running)

    def run(self, scripts: list[Script]) -> None:
        """Place these orders, no faster than the pace (orders a second)."""
        queue = self._paced(scripts)
        self._running = [
            threading.Thread(target=self._work, args=(queue,), name=f"client-{number}", daemon=True)
            for number in range(self._threads)
        ]
        for thread in self._running:
            thread.start()

    def join(self) -> None:
        for thread in self._running:
            thread.join()

    def _paced(self, scripts: list[Script]) -> Iterator[Script]:
        begun = time.monotonic()
        for place, script in enumerate(scripts):
            if self._pace and not self.hurry:
                self.stop.wait(begun + place / self._pace - time.monotonic())
            if self.stop.is_set():
                return
            self._issued += 1
            yield script

    def _work(self, queue: Iterator[Script]) -> None:
        while True:
            with self._lock:
                script = next(queue, None)
            if script is None:
                return
            key = script.correlation_id if script.manner in {Manner.REPEATS, Manner.TWICE_AT_ONCE} else None
            note = Note(script, key)
            self.notes.append(note)
            self._place(note)

    def _place(self, note: Note) -> None:
        if note.script.manner is Manner.TWICE_AT_ONCE:
            other = threading.Thread(target=self._until_told, args=(note,), daemon=True)
            other.start()
            self._until_told(note)
            other.join()
        elif note.script.manner is Manner.REPEATS:
            self._until_told(note)
        else:
            self._ask(note)

    def _until_told(self, note: Note) -> None:
        """Repeat the request under its key until its end is told, or it is known to rest."""
        for _ in range(REPEATS if note.script.api.waits else IN_VAIN):
            told = self._ask(note)
            if self.stop.is_set() or (told and (told.status in FINAL or told.status_word == "STUCK")):
                return
            if told and told.status not in {202, 503}:
                return
            self.stop.wait(0.2)

    def _ask(self, note: Note) -> Told | None:
        connection = self._connected()
        if connection is None:
            return None
        try:
            connection.request("POST", note.script.api.path, _body(note.script), _headers(note))
            if note.script.manner is Manner.HANGS_UP:
                self.stop.wait(Random(note.script.number).uniform(0.005, 0.15))
                return None
            answer = connection.getresponse()
            told = _told(note.script.api, answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            note.silences += 1
            return None
        finally:
            connection.close()
        note.answers.append(told)
        return told

    def _connected(self) -> http.client.HTTPConnection | None:
        """A connection, as soon as the service accepts one: an order that was never sent is none."""
        end = time.monotonic() + UNTIL_BACK
        while time.monotonic() < end and not self.stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LONGEST_WAIT)
            try:
                connection.connect()
            except OSError:
                connection.close()
                self.stop.wait(0.1)
            else:
                return connection
        return None


def _body(script: Script) -> bytes:
    if script.api is not ENGINE:
        return json.dumps({**script.api.more, **script.given}).encode()
    started = {"workflow": script.workflow, "input": script.given, "correlation_id": script.correlation_id}
    return json.dumps(started).encode()


def _headers(note: Note) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "X-API-Key": OWN_KEY,
        "X-Correlation-ID": note.script.correlation_id,
    }
    if note.key:
        headers["Idempotency-Key"] = note.key
    preferred = {Manner.ASYNCHRONOUS: "respond-async", Manner.IMPATIENT: "wait=1"}.get(note.script.manner)
    if preferred:
        headers["Prefer"] = preferred
    return headers


def _told(api: Api, status: int, content: bytes) -> Told:
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = {}
    problem = "code" in body and "title" in body
    return Told(
        status=status,
        saga_id=body.get("saga_id") or body.get(api.id),
        status_word=None if problem else body.get("status"),
        state=body.get(api.state) if api.state else None,
        code=body["code"] if problem else None,
    )
