"""The page `/saga/test`: start any workflow, have a step of it fail, and watch what follows."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from rest_framework.renderers import StaticHTMLRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from application.fault_scenario import OUTCOMES, FaultInjectionOff, FaultScenario
from domain.definition import SagaDefinition, Step
from domain.events import EventType
from interfaces import documentation as docs
from interfaces.callers import CLIENT, READER
from interfaces.console.access import in_language
from interfaces.console.words import REASONS, WORDS
from interfaces.examples import EXAMPLE_INPUTS
from interfaces.platform import engine
from interfaces.schema_example import Example

_OWN_HOST_ONLY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class FaultPageView(APIView):
    """The page; only where sagas may be told to fail."""

    roles = {"GET": (CLIENT, READER)}
    renderer_classes = [StaticHTMLRenderer]

    @docs.fault_page
    def get(self, request: Request) -> HttpResponse:
        """Show the page."""
        if not settings.SAGA_ORCHESTRATOR_CONFIG["FAULT_INJECTION"]:
            raise FaultInjectionOff
        newest = {definition.name: definition for definition in engine().definitions.all()}
        page = in_language(request, lambda: _page(request, newest.values()))
        page.headers["Content-Security-Policy"] = _OWN_HOST_ONLY
        return page


def _page(request: Request, definitions: Iterable[SagaDefinition]) -> HttpResponse:
    shown = {
        "workflows": [_shown(definition) for definition in definitions],
        "slow": FaultScenario(slow=True).mark(),
        "words": {
            **_words(),
            "events": {name: str(WORDS[name]) for name in EventType},
            "reasons": [(template, _(template)) for template in REASONS],
        },
    }
    return render(request, "saga/test.html", {"shown": shown, "outcomes": OUTCOMES})


def _words() -> dict[str, str]:
    """What the page's script says; `{...}` is what it puts in."""
    return {
        "COMPLETED": _("Completed: every step is done."),
        "COMPENSATED": _("Failed: everything that was done is undone."),
        "FAILED": _("Failed: nothing had to be undone."),
        "STUCK": _("Parked: a person has to act."),
        "PAUSED": _("Paused by a person."),
        "waiting": _("not begun"),
        "running": _("running"),
        "retrying": _("tried again"),
        "done": _("done"),
        "unneeded": _("not needed"),
        "failed": _("failed"),
        "undoing": _("undoing"),
        "undone": _("undone"),
        "undo_failed": _("undo failed"),
        "none": _("None: it succeeds"),
        "nothing_yet": _("Nothing has been run yet."),
        "safe": _("{place}, nothing to undo"),
        "undo": _("(undo)"),
        "inquire": _("(inquiry)"),
        "await": _("(answer)"),
        "attempt": _("attempt {n}"),
        "reason": _("Reason: {reason}."),
        "because": _("{told}: {reason}"),
        "idle": _("Nobody has taken it up yet: does a worker run?"),
        "starting": _("Starting"),
        "no_json": _("The input is not JSON: {why}"),
        "not_run": _("It could not be run or followed."),
    }


def _shown(definition: SagaDefinition) -> dict[str, Any]:
    """A workflow: its steps, and what to start it with."""
    return {
        "name": definition.name,
        "title": definition.title or definition.name,
        "steps": [_step(step) for step in definition.steps],
        "input": EXAMPLE_INPUTS.get(definition.name) or Example(definition.input_schema).value,
    }


def _step(step: Step) -> dict[str, Any]:
    """A step, and how a correlation id says that it is to fail; one that nobody answers cannot be told to."""
    answered = step.action or (step.publish and step.awaits)
    awaited = _("waits for %(types)s") % {"types": ", ".join(step.awaits.types)} if step.awaits else ""
    return {
        "name": step.name,
        "place": step.action.service if step.action else step.publish.topic if step.publish else awaited,
        "undoable": step.undoable,
        "marks": {outcome: FaultScenario(step.name, outcome).mark() for outcome in OUTCOMES} if answered else None,
    }
