"""Requests that came in, counted by the route that took them: a pattern of urls.py, so that labels are bounded."""

from collections.abc import Callable
from time import perf_counter

from django.http import HttpRequest, HttpResponseBase

from infrastructure import metrics

UNKNOWN = "unknown"
"""What no route takes."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Django middleware: outermost, so that nothing is left out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Take the time of one request."""
        began = perf_counter()
        response = self._get_response(request)
        method = request.method if request.method in _METHODS else "other"
        metrics.observe_request(_route(request, response), method, response.status_code, perf_counter() - began)
        return response


def _route(request: HttpRequest, response: HttpResponseBase) -> str:
    match = request.resolver_match
    if match is not None:
        return "/" + match.route
    # A file is found before any route is looked for.
    return "static" if request.path.startswith("/static/") and response.status_code < 400 else UNKNOWN  # noqa: PLR2004
