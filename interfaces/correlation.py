"""The correlation id: the client's, or a new one, on every answer and every log line."""

import logging
import re
from collections.abc import Callable
from contextvars import ContextVar
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

_current: ContextVar[str | None] = ContextVar("correlation_id", default=None)
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def acceptable(value: str) -> bool:
    """Whether a client's id can be passed on in headers and logs as it is."""
    return _ACCEPTABLE.fullmatch(value) is not None


class CorrelationMiddleware:
    """Sets `request.correlation_id`, and the answer's `X-Correlation-ID` and length."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_CORRELATION_ID", "")
        request.correlation_id = given if acceptable(given) else str(uuid4())
        token = _current.set(request.correlation_id)
        try:
            response = self._get_response(request)
        finally:
            _current.reset(token)
        response.headers["X-Correlation-ID"] = request.correlation_id
        if not response.streaming:
            response.headers["Content-Length"] = str(len(response.content))  # else gunicorn sends it in chunks
        return response


class CorrelationFilter(logging.Filter):
    """Gives each log line the correlation id of the request that it belongs to, where it did not bring its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a line."""
        current = _current.get()
        if current is not None and not hasattr(record, "correlation_id"):
            record.correlation_id = current
        return True
