"""Start a saga from a form of its workflow's input: the same start as through the API, by whoever is looking."""

import json
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from application.saga_orchestrator import StartRequest
from domain.definition import SagaDefinition
from domain.exceptions import IdempotencyConflict, InputInvalid
from interfaces.callers import CLIENT
from interfaces.console.access import page
from interfaces.console.schema_form import SchemaForm, after, read_json
from interfaces.console.words import fault
from interfaces.correlation import acceptable, traceparent
from interfaces.examples import EXAMPLE_INPUTS
from interfaces.platform import engine
from interfaces.schema_example import Example
from interfaces.starting import under_key


@page(CLIENT)
def start(request: HttpRequest, name: str) -> HttpResponse:
    """The form; posted, the start, or the form with one item more or less in a list."""
    definition = engine().definitions.newest(name)
    form = SchemaForm(definition.input_schema)
    if request.method != "POST":
        return _form(request, definition, form, EXAMPLE_INPUTS.get(name) or Example(definition.input_schema).value, {})
    value, faults = _read(request, form)
    for word in ("add", "remove"):
        if word in request.POST:
            after(value, request.POST[word], adds=word == "add")
            return _form(request, definition, form, value, {})
    return _started(request, definition, form, value, faults)


def _read(request: HttpRequest, form: SchemaForm) -> tuple[Any, dict[str, list[str]]]:
    try:
        if "json" not in request.POST:
            value, faults = form.read(request.POST)
            # The API reads a value in one way; what it would not take, a NUL for one, is not taken here.
            return (value, faults) if faults else (read_json(json.dumps(value)), {})
        return read_json(request.POST["json"]), {}
    except ValueError as error:
        return None, {"json": [str(error)]}


def _started(
    request: HttpRequest, definition: SagaDefinition, form: SchemaForm, value: Any, faults: dict[str, list[str]]
) -> HttpResponse:
    """The way to the new saga, or to the first one for a form that was sent twice; or the form with its faults."""
    correlation = request.POST.get("correlation_id", "").strip()
    if correlation and not acceptable(correlation):
        faults["correlation_id"] = [_("must be 1 to 128 letters, digits or ._:/+=@-")]
    key = request.POST.get("key", "").strip() or str(uuid4())
    try:
        asked = under_key(key, definition.name, None, value) if not faults else None
        if asked:
            saga = engine().start(
                StartRequest(
                    workflow=definition.name,
                    input=value,
                    correlation_id=correlation or request.correlation_id,
                    actor=request.caller.name,
                    tenant=request.caller.name,
                    idempotency=asked,
                    traceparent=traceparent(),
                    wait=0.0,
                )
            )
            messages.success(request, _("The saga is started."))
            answer = HttpResponseRedirect(reverse("console:saga", args=[saga.id]))
            answer.status_code = 303
            return answer
    except InputInvalid as error:
        faults = {path: [fault(text) for text in texts] for path, texts in error.faults.items()}
    except ValidationError:
        faults["key"] = [_("must be 1 to 255 visible ASCII characters")]
    except IdempotencyConflict:
        key = str(uuid4())
        faults["key"] = [_("A saga with another input was started with this key. Here is a new one: start it again.")]
    return _form(request, definition, form, value, faults, key=key, status=400)


def _form(
    request: HttpRequest,
    definition: SagaDefinition,
    form: SchemaForm,
    value: Any,
    faults: dict[str, list[str]],
    *,
    key: str | None = None,
    status: int = 200,
) -> HttpResponse:
    posted = request.POST
    as_json = "json" in posted or not form.expressible()
    root, left = form.draw(value, {} if as_json else faults)
    text = posted["json"] if "json" in posted else json.dumps(value, indent=2, ensure_ascii=False, default=_text)
    own = {name: faults.get(name, []) for name in ("json", "correlation_id", "key")}
    shown = {
        "here": "workflows",
        "caller": request.caller,
        "definition": definition,
        "root": root,
        "expressible": form.expressible(),
        "as_json": as_json,
        "text": text,
        "faults": own,
        "left": [(path, texts) for path, texts in (faults if as_json else left).items() if path not in own],
        "faulty": bool(faults),
        "correlation_id": posted.get("correlation_id", ""),
        "key": key or posted.get("key") or str(uuid4()),
    }
    return render(request, "console/start.html", shown, status=status)


def _text(value: object) -> Any:
    """What is in no value: a field that is empty, or that holds no JSON."""
    return getattr(value, "text", None)
