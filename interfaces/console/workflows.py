"""The workflows: how they go, and each version as a person reads it: its steps, its states drawn, what may be wrong."""

import json
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from application.statistics import Times
from domain.definition import Publish, Request, RetryPolicy, SagaDefinition, Step
from domain.events import SagaStatus
from domain.lint import Severity
from interfaces.callers import CLIENT, READER
from interfaces.console.access import page
from interfaces.console.drawing import state_svg
from interfaces.console.live import live_page
from interfaces.diagrams import state_diagram, step_diagram
from interfaces.platform import engine, platform

RECENT = 100
"""Sagas of a workflow whose endings make its success rate in the list."""
SAMPLE, SAMPLE_EVENTS = 200, 20_000
"""Sagas, and events of theirs, that the times of steps are taken from, at most."""


@page(READER)
def workflows(request: HttpRequest) -> HttpResponse:
    """Every workflow, with what is going on in it."""
    return live_page(request, "workflows", lambda: {"rows": _rows()}, lambda: {"here": "workflows"})


def _rows() -> list[dict[str, Any]]:
    newest, versions = {}, {}
    for definition in engine().definitions.all():
        newest[definition.name] = definition
        versions.setdefault(definition.name, []).append(definition.version)
    live = platform().queries.live_counts()
    recent = platform().statistics.recent(list(newest), RECENT)
    return [
        {
            "definition": definition,
            "versions": versions[name],
            "live": sum(live.get(name, {}).values()),
            "findings": _by_severity(definition),
            **_share(recent.get(name, {})),
        }
        for name, definition in newest.items()
    ]


def _share(counts: Mapping[str, int]) -> dict[str, Any]:
    """How many ended, and what part of them was done; no part of none."""
    ended = sum(counts.values())
    return {"ended": ended, "success": counts.get(SagaStatus.COMPLETED, 0) / ended if ended else None}


def _by_severity(definition: SagaDefinition) -> dict[str, int]:
    found = [finding.severity for finding in platform().publisher.findings(definition)]
    return {"warnings": found.count(Severity.WARNING), "all": len(found)}


@page(READER)
def workflow(request: HttpRequest, name: str, version: int | None = None) -> HttpResponse:
    """One version of a workflow, the newest unless said."""
    definitions = engine().definitions
    definition = definitions.newest(name) if version is None else definitions.version(name, version)
    shown = {
        "here": "workflows",
        "caller": request.caller,
        "definition": definition,
        "versions": sorted((each.version for each in definitions.all() if each.name == name), reverse=True),
        "published": definitions.publication(definition),
        "may_start": request.caller.may(CLIENT),
        "facts": _facts(definition),
        "steps": [_step(step) for step in definition.steps],
        "findings": platform().publisher.findings(definition),
        "drawing": state_svg(definition),
        "mermaid": [(_("States"), state_diagram(definition)), (_("Steps"), step_diagram(definition))],
        "json": json.dumps(definitions.content(definition), indent=2, ensure_ascii=False),
        **_times(definition),
    }
    return render(request, "console/workflow.html", shown)


def _times(definition: SagaDefinition) -> dict[str, Any]:
    """How the newest finished sagas of this version went, in the order of the steps."""
    whole, *steps = platform().statistics.times(definition.name, definition.version, SAMPLE, SAMPLE_EVENTS)
    places = {step.name: place for place, step in enumerate(definition.steps)}
    known = sorted((times for times in steps if times.step in places), key=lambda times: places[times.step or ""])
    return {"whole": whole, "times": [*known, whole], "rates": _rates(whole)}


def _rates(whole: Times) -> list[tuple[str, float]]:
    counted = {_("done"): whole.done, _("undone"): whole.undone, _("failed"): whole.failed, _("retried"): whole.retried}
    return [(word, count / whole.begun) for word, count in counted.items()] if whole.begun else []


def _facts(definition: SagaDefinition) -> dict[str, Any]:
    engine_of = engine()
    return {
        "deadline": definition.deadline or engine_of.saga_timeout,
        "own_deadline": definition.deadline is not None,
        "required": definition.input_schema.get("required", []),
    }


# --- a step, as a person reads it -------------------------------------------------------------------------------------


def _step(step: Step) -> dict[str, Any]:
    """A step's row."""
    does = [_called(step.action), _sent(step.publish)]
    if step.awaits:
        does.append(_("waits for %(types)s") % {"types": ", ".join(step.awaits.types)})
    return {
        "name": step.name,
        "does": list(filter(None, does)),
        "undo": list(filter(None, [_called(step.compensation), _sent(step.undo_publish)])),
        "inquiry": _called(step.inquiry),
        "kind": _kind(step),
        "when": step.when,
        "foreach": step.foreach,
        "concurrency": step.concurrency if step.foreach else None,
        "reject_when": step.reject_when,
        "timeout": step.action.timeout if step.action else step.awaits.timeout if step.awaits else None,
        "retry": _retries(step.retry),
        "undo_retry": _retries(step.undo_retry) if step.undoable else None,
        "states": (step.running_state, step.done_state),
        "failed_state": step.failed_state,
    }


def _kind(step: Step) -> str:
    """What makes it safe to have begun."""
    if step.pivot:
        return _("point of no return")
    return _("can be undone") if step.undoable else _("without consequence")


def _called(request: Request | None) -> str:
    return f"{request.method} {request.service} {request.path}" if request else ""


def _sent(message: Publish | None) -> str:
    return _("message to %(topic)s") % {"topic": message.topic} if message else ""


def _retries(policy: RetryPolicy) -> dict[str, Any]:
    most = engine().max_retries if policy.max_retries is None else policy.max_retries
    return {"most": most, "base": policy.base, "cap": policy.cap}
