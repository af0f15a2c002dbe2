"""gunicorn's threaded worker, with an end to waiting for clients: a thread that waits for one serves nobody else.

gunicorn reads a request for as long as its client likes: a few dozen clients that send half of one, and stay, would
hold every thread for ever.
"""

import contextlib
import json
import socket
import time
from typing import Any

from gunicorn import util
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

SECONDS_TO_SEND = 10.0
"""How long a thread waits for a client's request, head and body together; what the request takes is not counted."""
SECONDS_TO_TAKE = 60
"""How long a client may take nothing of its answer."""
SECONDS_TO_BEGIN = 0.05
"""How long a thread waits for a new connection's first byte; then the loop watches it, without a thread."""
SECONDS_TO_CLOSE = 1.0

_PROBLEM = json.dumps(
    {
        "type": "about:blank",
        "title": "Request timeout",
        "status": 408,
        "code": "request_timeout",
        "detail": f"The head of the request was not sent within {SECONDS_TO_SEND:g} seconds.",
    }
)
_ANSWER = (
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    f"Content-Length: {len(_PROBLEM)}\r\n\r\n{_PROBLEM}"
).encode("ascii")


class SagaWorker(ThreadWorker):
    """A client that does not send its request in time is answered 408, and its connection ends."""

    def enqueue_req(self, conn: TConn) -> None:
        """Serve what a connection has to say; a new one comes as gunicorn's own kind."""
        super().enqueue_req(conn if isinstance(conn, Connection) else Connection(conn))

    def handle(self, conn: "Connection") -> Any:
        """Serve one request."""
        if conn.initialized:
            conn.parser.unreader.begin()
        kept = super().handle(conn)
        if not kept:
            util.close_graceful(conn.sock, SECONDS_TO_CLOSE)
        return kept

    def handle_request(self, req: Any, conn: "Connection") -> bool:
        """Serve a request whose head is here."""
        conn.parser.unreader.head = False
        try:
            return bool(super().handle_request(req, conn))
        except TimeoutError:  # TCP_USER_TIMEOUT; the application keeps its own errors to itself
            self.log.info("a client did not take its answer in time")
            return False

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that could not be read."""
        if not isinstance(exc, SlowHead):
            super().handle_error(req, client, addr, exc)
            return
        self.log.info("a client did not send the head of its request in time")
        util.write_nonblock(client, _ANSWER)


class SlowHead(Exception):
    """The head of a request did not come in time; gunicorn would log an OSError as a defect."""


class Connection(TConn):
    """A client's connection, read by the clock."""

    def __init__(self, accepted: TConn) -> None:
        super().__init__(accepted.cfg, accepted.sock, accepted.client, accepted.server)
        with contextlib.suppress(AttributeError, OSError):  # Linux only; a reset connection ends anyway
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SECONDS_TO_TAKE * 1000)

    def wait_for_data(self, timeout: float) -> bool:
        """Whether there is something to read."""
        return bool(super().wait_for_data(min(timeout, SECONDS_TO_BEGIN)))

    def init(self) -> None:
        """Make ready to read the first request."""
        if not self.initialized:
            super().init()
            self.parser.unreader = TimedReader(self.sock)

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - gunicorn's signature
        """Close at once: the loop that accepts asks for this, and the thread that served has waited already."""
        util.close(self.sock)


class TimedReader(SocketUnreader):
    """Reads a request's bytes, and adds up the time spent waiting for them."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self) -> None:
        """Expect the next request."""
        self.head, self._left = True, SECONDS_TO_SEND

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes. Raises SlowHead, or TimeoutError in a body."""
        before, began = self.sock.gettimeout(), time.monotonic()
        self.sock.settimeout(max(0.001, self._left if before is None else min(before, self._left)))
        try:
            return bytes(super().chunk(size_hint))
        except TimeoutError:
            if self.head:
                raise SlowHead from None
            raise
        finally:
            self._left -= time.monotonic() - began
            self.sock.settimeout(before)
