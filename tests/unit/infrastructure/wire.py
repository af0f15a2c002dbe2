"""A participant at the level of the wire: it reads a request, then does to the socket whatever the test says."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

from domain.calls import Attempt, Task
from domain.events import Action
from infrastructure.http_participants import HttpParticipants

SAGA = UUID("0192f0c1-2a3b-7c4d-8e5f-000000000001")
TASK = Task(
    saga_id=SAGA,
    correlation_id="desk-7",
    workflow="commandes",
    deadline=datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC),
    step="reservation_stock",
    item=1,
    attempt=Attempt(action=Action.DO, number=2, due_at=datetime(2026, 1, 31, 12, tzinfo=UTC)),
    key=f"{SAGA}:reservation_stock[1]:do",
    service="inventaire",
    method="POST",
    path="/reservations/",
    query={},
    body={"quantite": 2},
    timeout=5.0,
)
READ = replace(TASK, method="GET", body=None)


def answer(status: int = 200, body: bytes = b'{"ok": true}', *headers: str) -> bytes:
    """An HTTP answer, complete."""
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *headers, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode() + body


Script = Callable[[socket.socket], None]


def say(*parts: bytes) -> Script:
    """Send the parts, and keep the connection open."""
    return lambda connection: [connection.sendall(part) for part in parts] and None


def close(_: socket.socket) -> None:
    """End the connection without a word."""
    raise ConnectionAbortedError


def reset(connection: socket.socket) -> None:
    """End the connection with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionAbortedError


def then(*scripts: Script) -> Script:
    """One after the other."""
    return lambda connection: [script(connection) for script in scripts] and None


class Wire:
    """Listens; the n-th request is answered by the n-th script, the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts or (say(answer()),)
        self.greeting = b""
        """What is said to whoever connects, before it says anything; the connection then ends."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def drip(self, head: bytes, part: bytes, every: float) -> Script:
        """Send `part` again and again, with pauses in between, until the client leaves."""

        def script(connection: socket.socket) -> None:
            connection.sendall(head)
            while not self.stopped.wait(every):
                connection.sendall(part)

        return script

    def silence(self, _: socket.socket) -> None:
        """Say nothing until the test is over."""
        self.stopped.wait(20)

    def use(self, *scripts: Script) -> "Wire":
        self._scripts = scripts
        return self

    def stop(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as incoming:
            connection.sendall(self.greeting)
            while not self.greeting and (request := _request(incoming)):
                with self._lock:
                    script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
                    self.requests.append(request)
                script(connection)


def _request(incoming) -> bytes:
    """One request, head and body; nothing when the client has left."""
    head = b""
    while line := incoming.readline():
        head += line
        if line == b"\r\n":
            break
    length = next((int(x.split(b":")[1]) for x in head.splitlines() if x.lower().startswith(b"content-length")), 0)
    return head + incoming.read(length)


@contextlib.contextmanager
def served(*scripts: Script) -> Iterator[Wire]:
    wire = Wire(*scripts)
    try:
        yield wire
    finally:
        wire.stop()


@contextlib.contextmanager
def participants(url: str, **options) -> Iterator[HttpParticipants]:
    """The adapter under test, with the service `inventaire` at this address."""
    adapter = HttpParticipants({"inventaire": url}, "the-gateway-key", **options)
    try:
        yield adapter
    finally:
        adapter._pool.shutdown()
        adapter._adapter().close()
