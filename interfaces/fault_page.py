"""The page `/saga/test`: start any workflow, have a step of it fail, and watch what follows."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from rest_framework.renderers import StaticHTMLRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from application.fault_scenario import OUTCOMES, FaultInjectionOff, FaultScenario
from domain.definition import SagaDefinition, Step
from interfaces import documentation as docs
from interfaces.callers import CLIENT, READER
from interfaces.examples import EXAMPLE_INPUTS
from interfaces.platform import engine

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
        shown = {
            "workflows": [_shown(definition) for definition in newest.values()],
            "slow": FaultScenario(slow=True).mark(),
        }
        page = render(request, "saga/test.html", {"shown": shown, "outcomes": OUTCOMES})
        page.headers["Content-Security-Policy"] = _OWN_HOST_ONLY
        return page


def _shown(definition: SagaDefinition) -> dict[str, Any]:
    """A workflow: its steps, and what to start it with."""
    return {
        "name": definition.name,
        "title": definition.title or definition.name,
        "steps": [_step(step) for step in definition.steps],
        "input": EXAMPLE_INPUTS.get(definition.name, {}),
    }


def _step(step: Step) -> dict[str, Any]:
    """A step, and how a correlation id says that it is to fail; one that is done by a message cannot be told to."""
    awaited = f"waits for {' or '.join(step.awaits.types)}" if step.awaits else ""
    return {
        "name": step.name,
        "place": step.action.service if step.action else step.publish.topic if step.publish else awaited,
        "undoable": step.undoable,
        "marks": {outcome: FaultScenario(step.name, outcome).mark() for outcome in OUTCOMES} if step.action else None,
    }
