"""What joins log lines: the correlation id, the client's or a new one, and the trace, where the client gave one."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from application.correlation import acceptable
from application.trace_context import accepted

_current: ContextVar[Mapping[str, str]] = ContextVar("joined", default=MappingProxyType({}))
_trace: ContextVar[str | None] = ContextVar("traceparent", default=None)


def traceparent() -> str | None:
    """The trace context of the request that is served now, which what it starts belongs to."""
    return _trace.get()


@contextmanager
def about(fields: Mapping[str, str]) -> Iterator[None]:
    """Gives the log lines of the block these fields, where they do not bring their own."""
    token = _current.set(fields)
    try:
        yield
    finally:
        _current.reset(token)


class CorrelationMiddleware:
    """Sets `request.correlation_id`, and the answer's `X-Correlation-ID` and length."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_CORRELATION_ID", "")
        request.correlation_id = given if acceptable(given) else str(uuid4())
        trace = accepted(request.META.get("HTTP_TRACEPARENT"))
        token, trace_token = _current.set(_fields(request.correlation_id, trace)), _trace.set(trace)
        try:
            response = self._get_response(request)
        finally:
            _current.reset(token)
            _trace.reset(trace_token)
        response.headers["X-Correlation-ID"] = request.correlation_id
        if not response.streaming:
            response.headers["Content-Length"] = str(len(response.content))  # else gunicorn sends it in chunks
        return response


class CorrelationFilter(logging.Filter):
    """Gives each log line what joins it with its request or its saga, where it did not bring its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a line."""
        own: dict[str, Any] = record.__dict__
        for name, value in _current.get().items():
            own.setdefault(name, value)
        return True


def _fields(correlation_id: str, trace: str | None) -> dict[str, str]:
    """What joins the lines of a request; a trace that it has none of is not invented: its saga may begin one."""
    if trace is None:
        return {"correlation_id": correlation_id}
    return {"correlation_id": correlation_id, "trace_id": trace[3:35], "span_id": trace[36:52]}
