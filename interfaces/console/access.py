"""Who looks at the console: somebody who logged in, a consumer of the gateway, or anybody in development."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.csrf import csrf_failure
from django.views.decorators.csrf import csrf_protect
from rest_framework.exceptions import APIException

from domain.exceptions import SagaError, SagaNotFound, StoreUnavailable, WorkflowUnknown
from interfaces import errors
from interfaces.admin import MAY_ACT
from interfaces.callers import ADMIN, ANYBODY_IN_DEVELOPMENT, OPERATOR, READER, Caller, named, roles_of
from interfaces.console.words import told

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Content-Security-Policy: nothing from another host, and nothing that is written into a page runs."""
REMEMBERED = 15.0
"""Seconds for which a page that draws itself again is not asked again who looks at it."""
_MOST_REMEMBERED = 1000

View = Callable[..., HttpResponse]
_remembered: dict[str, tuple[float, Caller]] = {}


def page(*roles: str) -> Callable[[View], View]:
    """A page for callers of one of these roles. Everything that goes wrong in it is told as a page as well."""

    def decorate(view: View) -> View:
        @csrf_protect
        @wraps(view)
        def shown(request: HttpRequest, *arguments: Any, **named_arguments: Any) -> HttpResponse:
            response = in_language(request, lambda: _answered(view, roles, request, arguments, named_arguments))
            return guarded(response)

        return shown

    return decorate


def in_language(request: HttpRequest, answer: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer in the language that its reader chose, or else that of the browser."""
    language = translation.get_language_from_request(request)
    with translation.override(language):  # and no longer: the thread's next request may be the API's
        response = answer()
        if hasattr(response, "render"):
            response.render()
    response.headers["Content-Language"] = language
    patch_vary_headers(response, ("Accept-Language", "Cookie"))
    return response


def guarded(response: HttpResponse) -> HttpResponse:
    """What every page says to the browser."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The answer to a form that is not of a page of ours, or of one that is too old; the console's, in its dress."""
    if not request.path_info.startswith("/console/"):
        return csrf_failure(request, reason)

    def answer() -> HttpResponse:
        text = _("This form is not of this site, or its page is too old. Load the page again, and send it once more.")
        return error_page(request, 403, _("Not allowed"), text)

    return guarded(in_language(request, answer))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404, for an address that no view has: under /console/ a page, elsewhere what errors.py says."""
    answer = errors.not_found(request, exception)
    if answer.status_code != 404 or not request.path_info.startswith("/console/"):  # noqa: PLR2004
        return answer

    def page() -> HttpResponse:
        return error_page(request, 404, _("Not found"), _("There is nothing at this address."))

    return guarded(in_language(request, page))


def _answered(view: View, roles: tuple[str, ...], request: HttpRequest, arguments: Any, more: Any) -> HttpResponse:
    try:
        caller = caller_of(request)
        if caller is None:
            return _to_login(request)
        request.caller = caller
        if caller.may(*roles):
            return view(request, *arguments, **more)
    except (OperationalError, InterfaceError, SagaError, APIException, Http404) as error:
        return error_page(request, *_told(error))
    return error_page(
        request, 403, _("Not allowed"), _("This needs the role %(roles)s.") % {"roles": " / ".join(roles)}
    )


def _told(error: Exception) -> tuple[int, str, str]:
    """Status, title and text of what went wrong."""
    if isinstance(error, OperationalError | InterfaceError | StoreUnavailable):
        text = _(
            "The database does not answer. Sagas are safe in it, and go on when it is back. Try again in a moment."
        )
        return 503, _("Not available"), text
    if isinstance(error, Http404 | SagaNotFound | WorkflowUnknown):
        return 404, _("Not found"), told(error)
    return getattr(error, "status_code", 409), _("Not possible"), told(error)


def caller_of(request: HttpRequest) -> Caller | None:
    """Who looks; None when nobody said. Raises AuthenticationFailed for wrong credentials."""
    if by_header := named(request.META):
        return by_header
    return _logged_in(request) or (ANYBODY_IN_DEVELOPMENT if settings.SAGA_ORCHESTRATOR_CONFIG["DEBUG"] else None)


def _logged_in(request: HttpRequest) -> Caller | None:
    """The session's user. A page that only draws itself again costs the database no question about them; whoever acts
    is asked for anew.
    """
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    now = time.monotonic()
    redrawn = request.method == "GET" and "live" in request.GET
    if redrawn and key in _remembered and _remembered[key][0] > now:
        return _remembered[key][1]
    if not request.user.is_authenticated:
        _remembered.pop(key, None)
        return None
    caller = Caller(request.user.get_username(), _roles(request.user))
    if len(_remembered) >= _MOST_REMEMBERED:
        _remembered.clear()
    _remembered[key] = (now + REMEMBERED, caller)
    return caller


def _roles(user: AbstractBaseUser) -> frozenset[str]:
    """Those of the groups that are named as roles; a superuser has all, and staff what they have at /admin/."""
    if user.is_superuser:
        return roles_of([ADMIN])
    at_admin = [OPERATOR if user.has_perm(MAY_ACT) else READER] if user.is_staff else []
    return roles_of([*user.groups.values_list("name", flat=True), *at_admin])


def forget(request: HttpRequest) -> None:
    """The session ends: whoever has its cookie is nobody from now on, in this process."""
    _remembered.pop(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""), None)


def _to_login(request: HttpRequest) -> HttpResponse:
    """The way to the login and back; a part of a page cannot be answered by another page, so the browser is sent."""
    if request.headers.get("HX-Request"):
        return HttpResponse(status=401, headers={"HX-Refresh": "true"})
    query = QueryDict(mutable=True)
    query["next"] = request.get_full_path()
    return redirect(f"{reverse('console:login')}?{query.urlencode(safe='/')}")


def error_page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    """What went wrong, and what to do."""
    shown = {"title": title, "text": text, "caller": getattr(request, "caller", None)}
    return render(request, "console/error.html", shown, status=status)


def context(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001 - Django's signature
    """What every page may show beside its own."""
    return {"fault_injection": settings.SAGA_ORCHESTRATOR_CONFIG["FAULT_INJECTION"]}
