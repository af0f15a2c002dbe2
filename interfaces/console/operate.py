"""What a person does to a saga: first what it would lead to, then, with a reason, the act itself.

What is done is what the preview showed, or nothing: when the saga has moved since, or something else is chosen in the
form, the preview is shown again.
"""

import re
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from application.operations import WHOLE, Act, giving, refusals, skips
from domain.entities import Saga
from domain.events import Action
from domain.exceptions import NotAllowed, NotAwaited, SagaDriven, SagaMoved
from domain.operations import By
from interfaces.callers import OPERATOR
from interfaces.console.access import page
from interfaces.console.saga import pretty
from interfaces.console.schema_form import read_json
from interfaces.console.words import told
from interfaces.operations_api import ENDS, LONGEST_REASON
from interfaces.platform import engine, platform
from interfaces.presentation import preview_json
from interfaces.privacy import masked_call
from interfaces.wire import JSONRenderer

TITLES = {
    "retry": gettext_lazy("Try again now"),
    "compensate": gettext_lazy("Turn back and undo"),
    "pause": gettext_lazy("Pause"),
    "resume": gettext_lazy("Resume"),
    "resolve": gettext_lazy("Declare settled by hand"),
    "skip": gettext_lazy("Take a step as done by hand"),
    "signal": gettext_lazy("Give it its message"),
}
TEXTS = {
    "retry": gettext_lazy("What waits is due at once, and what was given up has a full budget of attempts again."),
    "compensate": gettext_lazy("The saga goes no further: what was done is undone, last first."),
    "pause": gettext_lazy("Nothing goes out until somebody resumes it. What is under way now is still answered."),
    "resume": gettext_lazy("It goes on where it was held, with its full time again."),
    "resolve": gettext_lazy("Nothing goes out any more: what is owed was settled outside, and stays as it is."),
    "skip": gettext_lazy("The call is not made again: it was settled outside, and the saga goes on from there."),
    "signal": gettext_lazy("The message that it waits for, when it came another way."),
}
ACTS: dict[str, Callable[..., Any]] = {**WHOLE, "resolve": Saga.resolve, "skip": Saga.skip}
"""The verbs of `Saga`, each with what is chosen in its form."""
_CHOICE = {"resolve": "outcome", "skip": "place", "signal": "type"}
"""The field that must be chosen before it can be shown what would follow."""
_PLACE = re.compile(r"(do|undo):([\w-]+)(?:\[([0-9]{1,9})\])?")


class Wrong(Exception):
    """A field is wrong; nothing was done."""

    def __init__(self, field: str, text: str) -> None:
        self.field = field
        super().__init__(text)


@page(OPERATOR)
def operate(request: HttpRequest, saga_id: UUID, verb: str) -> HttpResponse:
    """The form with what would follow; posted, the act."""
    if verb not in TITLES:
        raise Http404(_("There is no such act."))
    given = request.POST if request.method == "POST" else request.GET
    posted = request.method == "POST" and "preview" not in given
    seen = engine().store.look(saga_id)
    shown: dict[str, Any] = {"faults": {}, "preview": None, "refusal": None}
    try:
        chosen = _chosen(verb, given, needed=posted)
        if chosen is not None:
            shown |= _previewed(request, saga_id, _act(verb, chosen), _digest(verb, chosen))
        if posted and given.get("seen") != str(shown["seq"]):
            shown["moved"] = True
        elif posted and given.get("chosen") != shown["chosen"]:
            shown["changed"] = True
        elif posted:
            by = _by(request, given.get("reason", ""))
            return _done(request, verb, platform().operations.act(saga_id, _act(verb, chosen), by, shown["seq"]))
    except Wrong as wrong:
        shown["faults"] = {wrong.field: str(wrong)}
    except SagaMoved:
        return operate(request, saga_id, verb)  # somebody was faster just now: it shows what would follow by now
    except (NotAllowed, NotAwaited, SagaDriven) as error:
        shown["refusal"] = told(error)
    whole = {
        **shown,
        **_choices(seen, verb),
        "here": "sagas",
        "caller": request.caller,
        "saga": seen.saga,
        "verb": verb,
        "title": TITLES[verb],
        "text": TEXTS[verb],
        "given": given,
        "longest": LONGEST_REASON,
    }
    return render(request, "console/operate.html", whole, status=400 if posted else 200)


def _chosen(verb: str, given: Any, *, needed: bool) -> dict[str, Any] | None:
    """What the verb needs beside who, why and when; None when it is not said yet and need not be. Raises Wrong."""
    if verb in _CHOICE and not given.get(_CHOICE[verb]):
        if needed:
            raise Wrong(_CHOICE[verb], _("Choose one."))
        return None
    if verb == "resolve":
        if given["outcome"] not in ENDS:
            raise Wrong("outcome", _("Choose one of the two."))
        return {"end": given["outcome"]}
    if verb == "skip":
        found = _PLACE.fullmatch(given["place"])
        if not found:
            raise Wrong("place", _("Choose one of the steps."))
        item = int(found[3]) if found[3] else None
        return {"step": found[2], "item": item, "action": Action(found[1]), "output": _json(given, "output")}
    return {"message": _message(given)} if verb == "signal" else {}


def _message(given: Any) -> dict[str, Any]:
    body = _json(given, "body")
    if not isinstance(body, dict | None):
        raise Wrong("body", _("The message must be a JSON object."))
    return {**(body or {}), "type": given["type"]}


def _json(given: Any, field: str) -> Any:
    text = given.get(field, "").strip()
    try:
        return read_json(text) if text else None
    except ValueError as error:
        raise Wrong(field, str(error)) from None


def _act(verb: str, chosen: dict[str, Any]) -> Act:
    return giving(**chosen) if verb == "signal" else partial(ACTS[verb], **chosen)


def _digest(verb: str, chosen: dict[str, Any]) -> str:
    """What was chosen, as a form brings it back beside what it was chosen for."""
    return sha256(JSONRenderer().render([verb, chosen])).hexdigest()[:16]


def _by(request: HttpRequest, reason: str) -> By:
    if not 0 < len(reason.strip()) <= LONGEST_REASON or "\0" in reason:
        text = _("Say why, in 1 to %(longest)s characters: it is kept in the saga's history.")
        raise Wrong("reason", text % {"longest": LONGEST_REASON})
    return By(actor=request.caller.name, reason=reason.strip())


def _done(request: HttpRequest, verb: str, saga: Saga) -> HttpResponse:
    """Say how the saga stands now, and go back to it."""
    messages.success(request, f"{TITLES[verb]}: {saga.status}, {saga.state}.")
    response = HttpResponseRedirect(reverse("console:saga", args=[saga.origin.id]))
    response.status_code = 303
    return response


def _choices(seen: Any, verb: str) -> dict[str, Any]:
    """What a form offers."""
    if verb == "skip":
        return {"places": skips(seen)}
    if verb == "signal":
        return {"types": seen.saga.awaited_types()}
    return {"ends": ENDS, "refused_now": refusals(seen, engine().clock.now()).get(verb)}


def _previewed(request: HttpRequest, saga_id: UUID, act: Act, chosen: str) -> dict[str, Any]:
    """What would follow, as people may see it, and of what: where the saga stands, and what was chosen."""
    preview = platform().operations.preview(saga_id, act, _by(request, "preview"))
    shown = preview_json(preview)
    calls = [masked_call(call, preview.saga) for call in shown["calls"]]
    shown["calls"] = [{**call, "shown_body": pretty(call["body"])} for call in calls]
    return {"preview": shown, "seq": preview.seq, "chosen": chosen}
