"""The operators' pages at /admin/: sagas, steps, events and workflows to read, and the verbs as actions.

Django's admin site with pages of our own: its model pages page by offset, and know no composite keys.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ParseError, ValidationError

from application.operations import Act, skips
from domain.entities import Saga
from domain.events import Action, SagaStatus
from domain.exceptions import SagaError, SagaNotFound, WorkflowUnknown
from domain.operations import By
from domain.step_progress import steps_of
from interfaces.listing import page_of_events, page_of_sagas, statistics
from interfaces.platform import engine, platform
from interfaces.presentation import definition_json, seen_json
from interfaces.privacy import mask_of, masked_events, masked_history, masked_rows, masked_saga
from interfaces.wire import JSONRenderer, strict_json

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
SKIP = "skip"
"""The verb that is about one step, or one undo: a form of its own, on the saga's page."""
_PLACE = re.compile(r"(do|undo):([\w-]+)(?:\[(\d+)\])?")
PAGES = {"sagas": "Sagas", "steps": "Steps", "events": "Events", "definitions": "Workflows"}


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
            path("steps/", self.admin_view(self.steps), name="steps"),
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
        return self._page(request, "sagas", {**page, **_choices(), "statistics": statistics()})

    def saga(self, request: HttpRequest, saga_id: UUID) -> HttpResponse:
        """One saga with its history."""
        try:
            seen = engine().store.look(saga_id)
        except SagaNotFound as error:
            raise Http404(str(error)) from None
        shown = masked_saga(seen_json(seen, engine().clock.now()), seen.saga)
        texts = {name: _pretty(shown.pop(name)) for name in ("input", "outputs")}
        more = {
            "saga": shown,
            "texts": texts,
            "steps": _steps(seen.saga),
            "skips": skips(seen),
            "history": masked_history(seen.saga),
            "title": f"Saga {saga_id}",
        }
        return self._page(request, "saga", more)

    def steps(self, request: HttpRequest) -> HttpResponse:
        """How far each step is, of the sagas of a page, newest first."""
        page = _listed(request, page_of_sagas)
        sagas = engine().store.load_all([row["id"] for row in page["results"]])
        rows = [row for listed in page["results"] if listed["id"] in sagas for row in _steps(sagas[listed["id"]])]
        return self._page(request, "steps", {**page, **_choices(), "rows": rows})

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
        reason, chosen = request.POST.get("reason", "").strip(), request.POST.getlist("saga")[:MOST_AT_ONCE]
        try:
            verb = _verb(request.POST)
        except ParseError as error:
            messages.error(request, f"The step's output: {error.detail}")
            return _back(chosen)
        if not 0 < len(reason) <= LONGEST_REASON or "\0" in reason:
            messages.error(request, f"Say why, in 1 to {LONGEST_REASON} characters: it is kept in the history.")
        elif verb is None or not chosen:
            messages.error(request, "Choose what to do, and to which sagas.")
        else:
            for saga_id in chosen:
                _do(request, saga_id, verb, By(actor=request.user.get_username(), reason=reason))
        return _back(chosen)

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


def _choices() -> dict[str, Any]:
    """What a list can be filtered by."""
    workflows = sorted({each.name for each in engine().definitions.all()})
    return {"statuses": list(SagaStatus), "workflows": workflows}


def _steps(saga: Saga) -> list[dict[str, Any]]:
    """A row a step, as a person may see it."""
    mask = mask_of(saga)
    return [
        {
            "saga": saga,
            "step": step,
            "error": mask(step.error),
            "undoable": saga.definition.steps[step.order - 1].undoable,
        }
        for step in steps_of(saga)
    ]


def _verb(given: QueryDict) -> Act | None:
    """What is to be done; None when that is not said. Raises ParseError for an output that is no JSON."""
    name = given.get("verb", "")
    if name != SKIP:
        return VERBS[name][1] if name in VERBS else None
    place, output = _PLACE.fullmatch(given.get("place", "")), given.get("output", "").strip()
    if place is None:
        return None
    return partial(
        Saga.skip,
        step=place[2],
        item=int(place[3]) if place[3] else None,
        action=Action(place[1]),
        output=strict_json(output.encode()) if output else None,
    )


def _back(chosen: list[str]) -> HttpResponse:
    """To the saga that it was about, or to the list."""
    one = _uuid(chosen[0]) if len(chosen) == 1 else None
    return HttpResponseRedirect(reverse("admin:saga", args=[one]) if one else reverse("admin:sagas"))


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
