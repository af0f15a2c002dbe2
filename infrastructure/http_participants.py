"""Participants over HTTP, through the gateway: what an answer, or the lack of one, says about what was done.

The table of outcomes is DESIGN's; what tells the gateway's own answer from the participant's was measured on Kong
3.9.3: its own carries `X-Kong-Response-Latency` and no `Via`, a participant's passes with a `Via`.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import NewConnectionError

from domain.calls import Task
from domain.outcomes import CallFacts, Outcome, Rejected, Reply, Succeeded, Unavailable, Unknown

CONNECT_TIMEOUT = 2.0
"""Seconds to open a connection: the gateway is near, and one that does not accept within two will not."""
MAX_BODY = 1024 * 1024
"""Bytes of an answer that are read: what a saga needs of it is small, and it is stored."""
MAX_RETRY_AFTER = 24 * 3600.0
MAX_REASON = 500

_UNAUTHORISED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_COME_BACK_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.TOO_EARLY})


class HttpParticipants:
    """The `Participants` by their base URLs, `{service: url}`. Raises ValueError for a service that has none."""

    def __init__(
        self, services: Mapping[str, str], api_key: str, pool: int = 16, observe: "CallObserver | None" = None
    ) -> None:
        self._bases = {name: url.rstrip("/") for name, url in services.items()}
        self._api_key = api_key
        self._local = threading.local()
        self._observe = observe
        self._pool = ThreadPoolExecutor(max_workers=pool, thread_name_prefix="participants")

    def call(self, task: Task) -> Reply:
        """Make one call, and say how it ended."""
        base = self._bases.get(task.service)
        if base is None:
            return Reply(Unavailable(f"no URL is configured for the service {task.service!r}"))
        started = time.perf_counter()
        status, outcome = self._exchange(self._prepare(base, task), task.timeout)
        facts = CallFacts(task.service, task.method, status, time.perf_counter() - started)
        if self._observe:
            self._observe(facts, outcome)
        return Reply(outcome, facts)

    def call_all(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Reply]]:
        """Make several calls at once, and give each reply as it comes; a single one in this thread."""
        if len(tasks) <= 1:
            yield from ((task, self.call(task)) for task in tasks)
            return
        calls = {self._pool.submit(self.call, task): task for task in tasks}
        for call in as_completed(calls):
            yield calls[call], call.result()

    def _prepare(self, base: str, task: Task) -> requests.PreparedRequest:
        """The request, put together by hand: everything in it is already checked and quoted."""
        prepared = requests.PreparedRequest()
        prepared.method = task.method
        prepared.url = base + task.path + (f"?{urlencode(task.query)}" if task.query else "")
        headers = {
            "X-API-Key": self._api_key,
            "Idempotency-Key": task.key,
            "X-Correlation-ID": task.correlation_id,
            "X-Saga-Id": str(task.saga_id),
            "X-Saga-Deadline": task.deadline.isoformat(),
            "traceparent": traceparent(task),
            "User-Agent": "saga-orchestrator",
        }
        if task.body is not None:
            prepared.body = msgspec.json.encode(task.body)
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(prepared.body))
        elif task.method != "GET":
            headers["Content-Length"] = "0"
        prepared.headers = CaseInsensitiveDict(headers)
        prepared.hooks = {"response": []}
        return prepared

    def _exchange(self, prepared: requests.PreparedRequest, timeout: float) -> tuple[int | None, Outcome]:
        try:
            # The adapter itself: Session.send would look for proxies, cookies and redirects, at half a call's CPU.
            response = self._adapter().send(prepared, stream=True, timeout=(CONNECT_TIMEOUT, timeout), proxies={})
        except (requests.RequestException, TransportError, OSError, ValueError) as error:
            return None, _broken(error)
        try:
            body = _read(response, time.monotonic() + timeout)
        except (requests.RequestException, TransportError, OSError) as error:
            return response.status_code, Unknown(f"the answer broke off: {_described(error)}")
        finally:
            response.close()
        return response.status_code, classify(response.status_code, response.headers, body)

    def _adapter(self) -> HTTPAdapter:
        """This thread's connections: one pooled session a thread, nothing shared, nothing locked."""
        adapter = getattr(self._local, "adapter", None)
        if adapter is None:
            adapter = self._local.adapter = _PinnedAdapter(pool_connections=32, pool_maxsize=4, max_retries=0)
        return adapter


class _PinnedAdapter(HTTPAdapter):
    """requests' connections without what a participant's call never needs.

    The pool is found by the address once, not worked out from the whole URL on every call; an answer keeps its status,
    headers and body, and no cookies, history or encoding. Together a quarter of a call's CPU.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pools: dict[str, Any] = {}

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


CallObserver = Callable[[CallFacts, Outcome], None]
"""Told of every call: metrics."""


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """What an answer says about what was done. Certain failure only where it is certain; in doubt, Unknown."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _success(status, body)
    reason = _reason(status, headers, body)
    gateways_own = "X-Kong-Response-Latency" in headers and "Via" not in headers
    if status in _UNAUTHORISED or status in _COME_BACK_LATER:
        return Unavailable(reason, retry_after(headers.get("Retry-After"), datetime.now(UTC)))
    if status == HTTPStatus.SERVICE_UNAVAILABLE and (gateways_own or "Retry-After" in headers):
        return Unavailable(reason, retry_after(headers.get("Retry-After"), datetime.now(UTC)))
    if status == HTTPStatus.REQUEST_TIMEOUT or not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unknown(reason)
    return Unavailable(reason) if gateways_own else Rejected(reason)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header, in either of its forms (RFC 9110, 10.2.3); None when it says nothing usable."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def traceparent(task: Task) -> str:
    """W3C trace context: one trace a saga (its id is the trace id), one span a call attempt."""
    span = f"{crc32(task.key.encode()):08x}{task.attempt.number:08x}"
    return f"00-{task.saga_id.hex}-{span}-01"


def _success(status: int, body: bytes) -> Outcome:
    if not body.strip():
        return Succeeded(None)
    try:
        output = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return Unknown(f"unreadable answer: {status} with a body that is not JSON")
    # PostgreSQL stores no NUL in a text; a saga that could not be stored could not be undone either.
    if b"\\u0000" in body and _has_nul(output):
        return Unknown(f"unreadable answer: {status} with a NUL character in its body")
    return Succeeded(output)


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(part) for key, part in value.items())
    return isinstance(value, list) and any(_has_nul(part) for part in value)


def _read(response: requests.Response, until: float) -> bytes:
    """The body, within a size and a time: a slow drip must not hold a thread and a saga for ever."""
    body = b""
    while chunk := response.raw.read1(65536):
        body += chunk
        if len(body) > MAX_BODY:
            raise requests.RequestException(f"it is longer than {MAX_BODY} bytes")
        if time.monotonic() > until:
            raise requests.Timeout("it drips for too long")
    return body


def _broken(error: Exception) -> Outcome:
    """No answer. Only a connection that was never made is certain to have done nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NewConnectionError | requests.ConnectTimeout | ConnectionRefusedError):
            return Unavailable(f"cannot connect: {_described(error)}")
        arguments = [argument for argument in cause.args if isinstance(argument, BaseException)]
        cause = getattr(cause, "reason", None) or cause.__cause__ or (arguments[0] if arguments else None)
        cause = cause if isinstance(cause, BaseException) else None
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | ValueError):
        return Unavailable(f"the request cannot be sent: {_described(error)}")
    if isinstance(error, requests.ReadTimeout):
        return Unknown("no answer in time")
    return Unknown(f"the connection broke: {_described(error)}")


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_REASON]


def _reason(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What a person should read: the status, and the answer's own words where it has some."""
    said = ""
    if "json" in headers.get("Content-Type", ""):
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            words = ("detail", "message", "erreur", "error", "reason", "title")
            said = next((answer[word] for word in words if isinstance(answer.get(word), str)), "")
    return f"HTTP {status}{': ' + said if said else ''}".replace("\0", "")[:MAX_REASON]
