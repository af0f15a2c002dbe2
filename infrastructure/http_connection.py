"""HTTP connections to participants: requests' own, bounded in time as a whole and without what a call never needs."""

import http.client
import io
import socket
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.exceptions import HTTPError as TransportError


class _TimedStream(io.RawIOBase):
    """What a socket receives, until the socket's timeout from now: each byte of a drip renews a socket's own."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket, self._raw = connected, connected.makefile("rb", buffering=0)
        seconds = connected.gettimeout()
        self._until = None if seconds is None else time.monotonic() + seconds
        self.ended = False
        """Whether the other side has closed."""

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Itself as the file that http.client asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """As a file."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As a file. Raises TimeoutError when the time is up."""
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._socket.settimeout(left)
        count = self._raw.readinto(buffer)
        self.ended = count == 0
        return count

    def close(self) -> None:
        """As a file: lets the socket go."""
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer whose head and body must arrive within the connection's read timeout together."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        self._stream = _TimedStream(sock)
        super().__init__(self._stream, *arguments, **options)

    def begin(self) -> None:
        """Read the head. Raises HTTPException for half a head, which http.client takes for a whole one."""
        super().begin()
        if self._stream.ended:
            raise http.client.HTTPException("the connection was closed before the end of the headers")


class _Told:
    """A connection that tells a failure to connect, the TLS handshake included, from one after it."""

    response_class = _TimedResponse

    def connect(self) -> None:
        """Connect. Raises ConnectTimeoutError or NewConnectionError and nothing else: nothing was sent."""
        try:
            super().connect()  # type: ignore[misc]
        except (ConnectTimeoutError, NewConnectionError):
            raise
        except (OSError, TransportError) as error:
            raise NewConnectionError(self, str(error)) from error  # type: ignore[arg-type]


class _Connection(_Told, HTTPConnection):
    pass


class _SecureConnection(_Told, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class ParticipantAdapter(HTTPAdapter):
    """requests' connections without what a participant's call never needs: proxies, cookies, redirects, history.

    The pool is found by the address once, not worked out from the whole URL on every call; an answer keeps its status,
    headers and body. Together a quarter of a call's CPU.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pools: dict[str, Any] = {}

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """The pools of requests, of our connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool of the request's scheme, host and port."""
        base = request.url[: request.url.index("/", 8)]
        pool = self._pools.get(base)
        if pool is None:
            pool = self._pools[base] = super().get_connection_with_tls_context(request, verify, proxies, cert)
        return pool

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """The answer, its body still to be read."""
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers
        response.raw = resp
        response.request = req
        return response
