"""Errors as `application/problem+json` (RFC 9457): what was wrong, where, and what to do. One place maps them."""

import contextlib
import logging
import math
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.urls import Resolver404, is_valid_path, resolve
from django.utils.encoding import escape_uri_path
from rest_framework import exceptions

from application.fault_scenario import FaultInjectionOff
from domain.definition_reader import faults_by_path
from domain.exceptions import (
    BrokerMissing,
    ContentRefused,
    DefinitionChanged,
    DefinitionInvalid,
    DefinitionUnreadable,
    GroupGrown,
    IdempotencyConflict,
    InputInvalid,
    LeaseLost,
    NotAllowed,
    NotAwaited,
    SagaDriven,
    SagaError,
    SagaMoved,
    SagaNotFound,
    StoreUnavailable,
    WorkflowShipped,
    WorkflowUnknown,
)
from interfaces.platform import engine
from interfaces.wire import JSONRenderer

logger = logging.getLogger("saga")

LONGEST_SHOWN = 200
"""Characters of an address that an answer repeats."""

_STATUS: dict[type[SagaError], int] = {
    InputInvalid: 400,
    ContentRefused: 400,
    WorkflowUnknown: 404,
    SagaNotFound: 404,
    IdempotencyConflict: 422,
    DefinitionInvalid: 422,
    DefinitionChanged: 409,
    WorkflowShipped: 409,
    LeaseLost: 409,
    NotAllowed: 409,
    NotAwaited: 409,
    SagaDriven: 409,
    SagaMoved: 409,
    GroupGrown: 409,
    FaultInjectionOff: 403,
    BrokerMissing: 503,
    StoreUnavailable: 503,
    DefinitionUnreadable: 503,  # another process, of a later release, can
}
_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Conflict",
    411: "Length required",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Cannot be done",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
}


def problem(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """The body of an error. `code` is stable, for programs; `detail` is for people."""
    return {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "code": code,
            "detail": detail, **more}  # fmt: skip


def problem_answer(body: dict[str, Any], headers: dict[str, str] | None = None) -> HttpResponse:
    """The problem as an answer."""
    content = JSONRenderer().render(body)
    return HttpResponse(content, "application/problem+json", body["status"], headers=headers)


def problem_response(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's exception handler. None lets an unexpected error through to `server_error`, which logs it.

    JSON whatever the view would render: the pages of the documentation are refused like any other route.
    """
    body, headers = _describe(error)
    if body is None:
        return None
    if body["status"] == 503:  # noqa: PLR2004
        more = {"code": body["code"], "path": context["request"].path, "reason": str(error.__cause__ or error).strip()}
        logger.error("request refused", extra=more)
    words = getattr(context.get("view"), "problem_words", None)
    return problem_answer(words(body) if words else body, headers)


def _describe(error: Exception) -> tuple[dict[str, Any] | None, dict[str, str]]:
    if isinstance(error, OperationalError | InterfaceError):
        error = StoreUnavailable()
    if isinstance(error, SagaError):
        status = _STATUS.get(type(error), 500)
        more: dict[str, Any] = {"errors": error.faults} if isinstance(error, InputInvalid) else {}
        more |= {"errors": faults_by_path(error.faults)} if isinstance(error, DefinitionInvalid) else {}
        if isinstance(error, StoreUnavailable) and error.saga_id:
            more["saga_id"] = error.saga_id
        return problem(status, error.code, str(error), **more), _patience(status, error)
    if isinstance(error, Http404):
        return problem(404, "not_found", "There is nothing at this address."), {}
    if isinstance(error, exceptions.ValidationError):
        return problem(400, "invalid", "Some fields are wrong.", errors=_plain(error.detail)), {}
    if isinstance(error, exceptions.APIException):
        headers = {"WWW-Authenticate": error.auth_header} if getattr(error, "auth_header", None) else {}
        headers |= {"Retry-After": str(error.wait)} if isinstance(error, exceptions.Throttled) else {}
        return problem(error.status_code, error.get_codes(), f"{error.detail}{_remedy(error)}"), headers
    return None, {}


def _remedy(error: exceptions.APIException) -> str:
    """What would help, where DRF's own words do not say it."""
    if isinstance(error, exceptions.NotAuthenticated):
        return " Send X-API-Key or Authorization: Bearer."
    return " Send Content-Type: application/json." if isinstance(error, exceptions.UnsupportedMediaType) else ""


def _patience(status: int, error: SagaError) -> dict[str, str]:
    """When to ask again: of a driven saga at the latest when its lease ends, unless its driver goes on."""
    if isinstance(error, SagaDriven):
        seconds = (error.until - engine().clock.now()).total_seconds()
        return {"Retry-After": str(max(1, math.ceil(seconds)))}
    return {"Retry-After": "5"} if status == 503 else {}  # noqa: PLR2004


def _plain(detail: Any) -> Any:
    """The texts of DRF's error details, which are texts with a code, as texts."""
    if isinstance(detail, dict):
        return {str(name): _plain(part) for name, part in detail.items()}
    return [_plain(part) for part in detail] if isinstance(detail, list) else str(detail)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Django's 404, for an address that no view has; where only the final slash is wrong, the way to the right one."""
    near = _with_the_other_end(request.path_info)
    if near and request.method in {"GET", "HEAD"}:
        query = request.META.get("QUERY_STRING")
        return HttpResponsePermanentRedirect(escape_uri_path(near) + (f"?{query}" if query else ""))
    hint = f"the address is {near} ({'with' if near.endswith('/') else 'without'} the final slash)" if near else ""
    nothing = f"There is nothing at {request.path[:LONGEST_SHOWN]}"
    hint = hint or _no_saga_id(request.path_info) or "/swagger/ shows what there is"
    return problem_answer(problem(404, "not_found", f"{nothing}; {hint}."))


def _no_saga_id(path: str) -> str:
    """Which part of the address would have to be a saga's id, if that is all that is wrong with it."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        with contextlib.suppress(Resolver404):
            if part and "saga_id" in resolve("/".join([*parts[:place], str(UUID(int=0)), *parts[place + 1 :]])).kwargs:
                return f"{part[:LONGEST_SHOWN]} is no saga id"
    return ""


def _with_the_other_end(path: str) -> str:
    """The same address with its final slash, or without it, if that is one of ours."""
    near = path.rstrip("/") if path.endswith("/") else f"{path}/"
    return near if near and is_valid_path(near) else ""


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500: the log has the trace, the answer has the id to find it by."""
    correlation = getattr(request, "correlation_id", None)
    return problem_answer(
        problem(500, "internal_error", "This is a defect of the service.", correlation_id=correlation)
    )
