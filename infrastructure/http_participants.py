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

import msgspec
import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import NewConnectionError

from application.trace_context import HEADER, Sampled, call_traceparent, unsampled
from domain.calls import Task
from domain.events import Action
from domain.outcomes import CallFacts, Outcome, Postponed, Rejected, Reply, Succeeded, Unavailable, Unknown
from infrastructure.guard import Guard, Refusal
from infrastructure.http_connection import ParticipantAdapter

CONNECT_TIMEOUT = 2.0
"""Seconds to open a connection: the gateway is near, and one that does not accept within two will not."""
MAX_BODY = 1024 * 1024
"""Bytes of an answer that are read: what a saga needs of it is small, and it is stored."""
DEEPEST = 64
"""Levels of an answer's JSON: more is a defect, and what reads and stores it has limits of its own."""
MAX_RETRY_AFTER = 24 * 3600.0
MAX_REASON = 500

_UNAUTHORISED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_NOT_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_UNBUILDABLE = (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError)
_SENDABLE = re.compile(r"[\x20-\x7e\xa0-\xff]+")
"""What a header takes: Latin-1, and no line end that would begin another header."""
_NOT_ANSWERING = frozenset({None, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What opens the circuit: nobody is there, or nobody but the gateway. Any other answer shows that somebody is."""
_COME_BACK_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.TOO_EARLY})


class HttpParticipants:
    """The `Participants` by their base URLs, `{service: url}`; a call to a service that has none is `Unavailable`."""

    def __init__(
        self,
        services: Mapping[str, str],
        api_key: str,
        pool: int = 16,
        observe: "CallObserver | None" = None,
        guard: Guard | None = None,
        *,
        sampled: Sampled = unsampled,
    ) -> None:
        self._bases = {name: url.rstrip("/") for name, url in services.items()}
        self._api_key, self._sampled = api_key, sampled
        self._local = threading.local()
        self._observe = observe
        self._guard = guard or Guard(failures=0)
        self._pool = ThreadPoolExecutor(max_workers=pool, thread_name_prefix="participants")

    def call(self, task: Task) -> Reply:
        """Make one call, and say how it ended; or put it off when its participant should not be called now."""
        base = self._bases.get(task.service)
        if base is None:
            return Reply(Unavailable(f"no URL is configured for the service {task.service!r}"))
        try:
            prepared = self._prepare(base, task)
        except _UNBUILDABLE as error:  # before the guard: it says nothing of the participant
            return Reply(Rejected(f"the request cannot be built: {_described(error)}"))
        entry = self._guard.enter(task.service, undo=task.attempt.action is Action.UNDO)
        if isinstance(entry, Refusal):
            return Reply(Postponed(entry.reason, entry.seconds))
        healthy: bool | None = False
        try:
            reply = self._made(prepared, task)
            healthy = _answers(reply)
        finally:
            self._guard.leave(entry, healthy=healthy)
        return reply

    def _made(self, prepared: requests.PreparedRequest, task: Task) -> Reply:
        started = time.perf_counter()
        status, outcome = self._exchange(prepared, task.timeout)
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
        """The request, put together by hand: everything in it is already checked and quoted, but what came from outside
        as it is. Raises one of _UNBUILDABLE.
        """
        prepared = requests.PreparedRequest()
        prepared.method = task.method
        prepared.url = base + task.path + _query(task.query)
        headers = {
            "X-API-Key": self._api_key,
            "Idempotency-Key": task.key,
            "X-Correlation-ID": task.correlation_id,
            "X-Saga-Id": str(task.saga_id),
            "X-Saga-Deadline": task.deadline.isoformat(),
            HEADER: call_traceparent(task, self._sampled),
            "User-Agent": "saga-orchestrator",
        }
        if not _SENDABLE.fullmatch(task.correlation_id):  # of a saga that an earlier release started
            raise ValueError(f"{task.correlation_id[:40]!r} cannot be a header")
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
            body = _read(response)
        except (requests.RequestException, TransportError, OSError, ValueError) as error:
            return response.status_code, Unknown(f"the answer broke off: {_described(error)}")
        finally:
            response.close()
        return response.status_code, classify(response.status_code, response.headers, body)

    def _adapter(self) -> ParticipantAdapter:
        """This thread's connections: one pooled session a thread, nothing shared, nothing locked."""
        adapter = getattr(self._local, "adapter", None)
        if adapter is None:
            adapter = self._local.adapter = ParticipantAdapter(pool_connections=32, pool_maxsize=4, max_retries=0)
        return adapter


CallObserver = Callable[[CallFacts, Outcome], None]
"""Told of every call: metrics."""


def _answers(reply: Reply) -> bool | None:
    """Whether somebody is there; one who asks to come back later is. None where nobody was asked."""
    if isinstance(reply.outcome, Rejected) and (reply.facts is None or reply.facts.status is None):
        return None
    asked_to_wait = isinstance(reply.outcome, Unavailable) and reply.outcome.retry_after is not None
    return asked_to_wait or (reply.facts is not None and reply.facts.status not in _NOT_ANSWERING)


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
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _query(values: Mapping[str, Any]) -> str:
    """The query string, truths in JSON's words."""
    if not values:
        return ""
    words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in values.items()}
    return f"?{urlencode(words)}"


def _success(status: int, body: bytes) -> Outcome:
    if not body.strip():
        return Succeeded(None)
    try:
        output = msgspec.json.decode(body)
    except _NOT_JSON:
        return Unknown(f"unreadable answer: {status} with a body that is not JSON")
    # A saga whose answers could not be stored could not be undone either.
    if b"\\u0000" in body or body.count(b"[") + body.count(b"{") > DEEPEST:
        flaw = _unstorable(output)
        if flaw:
            return Unknown(f"unreadable answer: {status} with {flaw} in its body")
    return Succeeded(output)


def _unstorable(value: Any, depth: int = 0) -> str | None:
    """What PostgreSQL, or the way there, would not take."""
    if isinstance(value, str):
        return "a NUL character" if "\0" in value else None
    if not isinstance(value, dict | list):
        return None
    if depth == DEEPEST:
        return f"more than {DEEPEST} levels"
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    return next((flaw for part in parts if (flaw := _unstorable(part, depth + 1))), None)


def _read(response: requests.Response) -> bytes:
    """The body, within a size; the connection bounds the time."""
    body = b""
    while chunk := response.raw.read1(65536):
        body += chunk
        if len(body) > MAX_BODY:
            raise requests.RequestException(f"it is longer than {MAX_BODY} bytes")
    return body


def _broken(error: Exception) -> Outcome:
    """No answer. Only what never left has certainly done nothing: for want of a connection, or of an address that is
    one, and then it may leave later; or by its own fault, and then it never will.
    """
    exhausted = error.args[0] if error.args else None
    if isinstance(error, requests.ConnectTimeout) or isinstance(getattr(exhausted, "reason", None), NewConnectionError):
        return Unavailable(f"cannot connect: {_described(error)}")
    if isinstance(error, requests.ReadTimeout):
        return Unknown("no answer in time")
    # InvalidHeader is a ValueError too, but about the answer's header: the request had its effect.
    if isinstance(error, ValueError) and not isinstance(error, requests.exceptions.InvalidHeader):
        if isinstance(error, UnicodeError):
            return Rejected(f"the request cannot be built: {_described(error)}")
        return Unavailable(f"the request cannot be sent: {_described(error)}")
    return Unknown(f"the connection broke: {_described(error)}")


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_REASON]


def _reason(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What a person should read: the status, and the answer's own words where it has some."""
    said = ""
    if "json" in headers.get("Content-Type", ""):
        try:
            answer = msgspec.json.decode(body)
        except _NOT_JSON:
            answer = None
        if isinstance(answer, dict):
            words = ("detail", "message", "erreur", "error", "reason", "title")
            said = next((answer[word] for word in words if isinstance(answer.get(word), str)), "")
    return f"HTTP {status}{': ' + said if said else ''}".replace("\0", "")[:MAX_REASON]
