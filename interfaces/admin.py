"""The operators' pages at /admin/: sagas, events and workflows to read, and the verbs as actions.

Django's admin site with pages of our own: its model pages page by offset, and know no composite keys.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ValidationError

from application.operations import Act
from domain.entities import Saga
from domain.events import SagaStatus
from domain.exceptions import SagaError, SagaNotFound, WorkflowUnknown
from domain.operations import By
from interfaces.listing import page_of_events, page_of_sagas, statistics
from interfaces.platform import engine, platform
from interfaces.presentation import definition_json, seen_json
from interfaces.privacy import masked_events, masked_history, masked_rows, masked_saga
from interfaces.wire import JSONRenderer

MAY_ACT = "saga.change_sagarow"
"""Django's permission for the verbs; to read, a user must be staff."""
LONGEST_REASON, MOST_AT_ONCE = 500, 200

VERBS: dict[str, tuple[str, Act]] = {
    "retry": ("Try again now", Saga.retry),
    "compensate": ("Turn back and undo", Saga.compensate),
    "pause": ("Pause", Saga.pause),
    "resume": ("Resume", Saga.resume),
    "resolve-completed": ("Declare completed by hand", partial(Saga.resolve, end="completed")),
    "resolve-compensated": ("Declare undone by hand", partial(Saga.resolve, end="compensated")),
}
PAGES = {"sagas": "Sagas", "events": "Events", "definitions": "Workflows"}


class SagaSite(AdminSite):
    """The pages, behind Django's login."""

    site_header = site_title = "Saga orchestrator"
    index_title = "Operations"
    site_url = None
    enable_nav_sidebar = False
    final_catch_all_view = False  # an address that is none is the service's own 404

    def get_urls(self) -> list[Any]:
        """Ours, and Django's."""
        pages = [
            path("sagas/", self.admin_view(self.sagas), name="sagas"),
            path("sagas/act/", self.admin_view(require_POST(self.act)), name="act"),
            path("sagas/<uuid:saga_id>/", self.admin_view(self.saga), name="saga"),
            path("events/", self.admin_view(self.events), name="events"),
            path("definitions/", self.admin_view(self.definitions), name="definitions"),
            path("definitions/<slug:name>/<int:version>/", self.admin_view(self.definition), name="definition"),
        ]
        return pages + super().get_urls()

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """What the first page leads to."""
        shown = [
            {"name": text, "object_name": name, "admin_url": reverse(f"admin:{name}"), "view_only": True}
            for name, text in PAGES.items()
        ]
        ours = {"name": "Sagas", "app_label": "saga", "app_url": reverse("admin:sagas"), "models": shown}
        return [ours, *super().get_app_list(request, app_label)]

    def sagas(self, request: HttpRequest) -> HttpResponse:
        """Sagas, newest first, a page by key."""
        page = _listed(request, partial(page_of_sagas, show=masked_rows))
        more = {
            "statistics": statistics(),
            "statuses": list(SagaStatus),
            "workflows": sorted({each.name for each in engine().definitions.all()}),
        }
        return self._page(request, "sagas", {**page, **more})

    def saga(self, request: HttpRequest, saga_id: UUID) -> HttpResponse:
        """One saga with its history."""
        try:
            seen = engine().store.look(saga_id)
        except SagaNotFound as error:
            raise Http404(str(error)) from None
        shown = masked_saga(seen_json(seen, engine().clock.now()), seen.saga)
        texts = {name: _pretty(shown.pop(name)) for name in ("input", "outputs")}
        more = {"saga": shown, "texts": texts, "history": masked_history(seen.saga), "title": f"Saga {saga_id}"}
        return self._page(request, "saga", more)

    def events(self, request: HttpRequest) -> HttpResponse:
        """All events, those of the newest saga first."""
        page = _listed(request, page_of_events)
        return self._page(request, "events", {**page, "results": masked_events(page["results"])})

    def definitions(self, request: HttpRequest) -> HttpResponse:
        """The workflows."""
        return self._page(request, "definitions", {"definitions": engine().definitions.all()})

    def definition(self, request: HttpRequest, name: str, version: int) -> HttpResponse:
        """One workflow, whole."""
        try:
            found = engine().definitions.version(name, version)
        except WorkflowUnknown as error:
            raise Http404(str(error)) from None
        publisher = platform().publisher
        stored = publisher.definitions.publication(found)
        content = _pretty(definition_json(found, publisher.findings(found), stored))
        more = {"definition": found, "content": content, "title": f"{name} v{version}"}
        return self._page(request, "definition", more)

    def act(self, request: HttpRequest) -> HttpResponse:
        """Do a verb to the sagas chosen, each by itself, and say how each went."""
        if not request.user.has_perm(MAY_ACT):
            raise PermissionDenied
        reason, verb = request.POST.get("reason", "").strip(), VERBS.get(request.POST.get("verb", ""))
        chosen = request.POST.getlist("saga")[:MOST_AT_ONCE]
        if not 0 < len(reason) <= LONGEST_REASON or "\0" in reason:
            messages.error(request, f"Say why, in 1 to {LONGEST_REASON} characters: it is kept in the history.")
        elif verb is None or not chosen:
            messages.error(request, "Choose what to do, and to which sagas.")
        else:
            for saga_id in chosen:
                _do(request, saga_id, verb[1], By(actor=request.user.get_username(), reason=reason))
        one = _uuid(chosen[0]) if len(chosen) == 1 else None
        return HttpResponseRedirect(reverse("admin:saga", args=[one]) if one else reverse("admin:sagas"))

    def _page(self, request: HttpRequest, name: str, more: dict[str, Any]) -> HttpResponse:
        context = {
            **self.each_context(request),
            "title": PAGES.get(name),
            "verbs": {verb: text for verb, (text, _) in VERBS.items()},
            "may_act": request.user.has_perm(MAY_ACT),
            **more,
        }
        return TemplateResponse(request, f"admin/saga/{name}.html", context)


def _listed(request: HttpRequest, page_of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """A page of a list, and the address of the next; nothing and the reason when a parameter is wrong."""
    try:
        page = page_of(request.GET)
    except ValidationError as error:
        faults = [f"{name}: {text}" for name, texts in error.detail.items() for text in texts]
        return {"results": [], "faults": faults}
    following = request.GET.copy()
    following["cursor"] = str(page["next"])
    return {"results": page["results"], "following": following.urlencode() if page["next"] else None}


def _do(request: HttpRequest, given: str, act: Act, by: By) -> None:
    saga_id = _uuid(given)
    if saga_id is None:
        return messages.error(request, f"{given[:40]!r} is not a saga's id.")
    try:
        saga = platform().operations.act(saga_id, act, by)
    except SagaError as error:
        return messages.error(request, f"{saga_id}: {error}")
    return messages.success(request, f"{saga_id}: {saga.status}, {saga.state}")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _pretty(value: Any) -> str:
    return json.dumps(json.loads(JSONRenderer().render(value)), indent=2, ensure_ascii=False)


site = SagaSite(name="admin")
site.register(User, UserAdmin)
site.register(Group, GroupAdmin)
