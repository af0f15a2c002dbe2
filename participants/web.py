"""A service over HTTP: a WSGI application that finds the route, runs it and answers JSON, errors too.

Every error is ``{"code": ..., "detail": ...}``. ``/``, ``/health`` and what begins with an underscore are the
service's own routes: no scripted fault ever strikes them.
"""

import logging
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from participants import ledger
from participants.database import Database
from participants.faults import ALL_KINDS, Faults
from participants.response import Response, error_response, json_response
from participants.sabotage import strike
from participants.service import Call, Route, Service, read
from participants.validation import RequestError
from saga_barrier import Answer

LARGEST_BODY: Final = 1_000_000
REPLAYED: Final = {"Idempotent-Replayed": "true"}
JOINING: Final = {
    "key": "HTTP_IDEMPOTENCY_KEY",
    "correlation_id": "HTTP_X_CORRELATION_ID",
    "saga_id": "HTTP_X_SAGA_ID",
    "traceparent": "HTTP_TRACEPARENT",
}
"""What a log line says of a call, by the header that has it."""
PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}

logger = logging.getLogger("participants")

Environ = Mapping[str, Any]
Table = list[tuple[re.Pattern[str], dict[str, Route]]]


class Application:
    """The WSGI application of one service; with ``faults`` only where faults may be scripted."""

    def __init__(self, service: Service, database: Database, faults: Faults | None = None) -> None:
        self._service, self._database, self._faults = service, database, faults
        self._own = _table(self._own_routes())
        self._business = _table(service.routes)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = self._respond(environ)
        self._log(environ, response)
        headers = [("Content-Length", str(response.length)), *response.headers.items()]
        if correlation_id := environ.get("HTTP_X_CORRELATION_ID"):
            headers.append(("X-Correlation-ID", correlation_id))
        start_response(f"{response.status} {PHRASES.get(response.status, 'Unassigned')}", headers)
        return response.chunks

    def _log(self, environ: Environ, response: Response) -> None:
        """A line for each business call, which its trace and its saga join with those of the caller."""
        if "HTTP_IDEMPOTENCY_KEY" in environ or "HTTP_TRACEPARENT" in environ:
            joined = {name: environ[header] for name, header in JOINING.items() if header in environ}
            facts = {"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"], "status": response.status}
            logger.info("call answered", extra={"service": self._service.name, **facts, **joined})

    def _respond(self, environ: Environ) -> Response:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        own = _find(self._own, path)
        methods, parameters = own or _find(self._business, path) or ({}, {})
        if method not in methods:
            return _no_route(method, path, methods)
        try:
            call = self._call(environ, method, path, parameters)
        except RequestError as error:
            return error_response(error)
        rule = self._faults.pick(method, path, call.key) if self._faults and not own else None
        if rule is None:
            return self._answer(methods[method], call)
        return strike(rule, lambda: self._answer(methods[method], call), environ["gunicorn.socket"])

    def _call(self, environ: Environ, method: str, path: str, parameters: Mapping[str, str]) -> Call:
        return Call(
            service=self._service.name,
            method=method,
            path=path,
            parameters=parameters,
            query=dict(parse_qsl(environ["QUERY_STRING"])),
            key=environ.get("HTTP_IDEMPOTENCY_KEY", ""),
            content=_content(environ),
            traceparent=environ.get("HTTP_TRACEPARENT", ""),
        )

    def _answer(self, route: Route, call: Call) -> Response:
        """Run the route; whatever happens comes back as a response, never as an exception."""
        try:
            answer = route.handler(self._database, call)
        except RequestError as error:
            return error_response(error)
        except Exception:
            logger.exception("call failed", extra={"service": call.service, "path": call.path, "key": call.key})
            return error_response(RequestError(500, "internal_error", "The service failed; its log says why"))
        return json_response(answer.status, answer.body, REPLAYED if answer.replayed else None)

    def _own_routes(self) -> list[Route]:
        routes = [read("/", self._index), read("/health", self._health), read("/_ledger", _ledger)]
        if self._faults is None:
            return routes
        faults = self._faults
        return [
            *routes,
            Route("GET", "/_faults", "The rules, and how often each was used.", lambda *_: _rules(faults)),
            Route("POST", "/_faults", "Add a rule.", lambda _, call: Answer(201, faults.add(call.body()))),
            Route("DELETE", "/_faults", "Take all rules away.", lambda *_: Answer(200, {"cleared": faults.clear()})),
        ]

    def _index(self, _: sqlite3.Cursor, __: Call) -> Answer:
        """This list."""
        tables = (self._business, self._own)
        routes = [route for table in tables for _, methods in table for route in methods.values()]
        shown = [{"method": route.method, "path": route.path, "summary": route.summary} for route in routes]
        return Answer(200, {"service": self._service.name, "routes": shown})

    def _health(self, cursor: sqlite3.Cursor, _: Call) -> Answer:
        """Tell whether the service can reach its database."""
        try:
            cursor.execute("SELECT 1 FROM ledger LIMIT 1").fetchone()
        except sqlite3.Error as error:
            return Answer(503, {"status": "unavailable", "service": self._service.name, "detail": str(error)})
        return Answer(200, {"status": "ok", "service": self._service.name})


def _ledger(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """List the effects that were really applied, of one saga with ?saga_id=."""
    return Answer(200, {"effects": ledger.effects(cursor, call.query.get("saga_id"))})


def _rules(faults: Faults) -> Answer:
    return Answer(200, {"rules": faults.shown(), "kinds": ALL_KINDS})


def _table(routes: Iterable[Route]) -> Table:
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    return [(next(iter(methods.values())).pattern(), methods) for methods in paths.values()]


def _find(table: Table, path: str) -> tuple[dict[str, Route], dict[str, str]] | None:
    for pattern, methods in table:
        if match := pattern.fullmatch(path):
            return methods, match.groupdict()
    return None


def _no_route(method: str, path: str, methods: Mapping[str, Route]) -> Response:
    if not methods:
        return error_response(RequestError(404, "unknown_route", f"There is no {path}; / lists what there is"))
    allowed = ", ".join(sorted(methods))
    error = RequestError(405, "method_not_allowed", f"{path} takes {allowed}, not {method}")
    return error_response(error, {"Allow": allowed})


def _content(environ: Environ) -> bytes:
    """The whole body, also when it comes in chunks without a length."""
    content: bytes = environ["wsgi.input"].read(LARGEST_BODY + 1)
    if len(content) > LARGEST_BODY:
        raise RequestError(413, "body_too_large", f"A body has at most {LARGEST_BODY} bytes")
    return content
