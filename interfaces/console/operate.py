"""What a person does to a saga: first what it would lead to, then, with a reason, the act itself.

The act goes through only on the saga that the preview showed: when it has moved since, the preview is shown again.
"""

import re
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from application.messages import signal
from application.operations import WHOLE, Act, refusals, skips
from domain.entities import Saga
from domain.events import Action
from domain.exceptions import NotAllowed, NotAwaited, SagaDriven
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
    seen = engine().store.look(saga_id)
    given = request.POST if request.method == "POST" else request.GET
    shown: dict[str, Any] = {"faults": {}, "preview": None, "refusal": None}
    moved = False
    try:
        act = _act(verb, given) if _complete(verb, given) else None
        if act:
            moved = given.get("seen") not in {None, str(seen.saga.seq)}
            shown["preview"] = _previewed(
                seen.saga, platform().operations.preview(saga_id, act, _by(request, "preview"))
            )
        if request.method == "POST" and not moved:
            return _done(request, saga_id, verb, act, given)
    except Wrong as wrong:
        shown["faults"] = {wrong.field: str(wrong)}
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
        "moved": moved,
        "longest": LONGEST_REASON,
    }
    return render(request, "console/operate.html", whole, status=400 if request.method == "POST" else 200)


def _complete(verb: str, given: Any) -> bool:
    """Whether enough is said to show what would follow."""
    return verb in WHOLE.keys() - {"resolve"} or bool(given.get({"resolve": "outcome", "skip": "place"}.get(verb, "")))


def _act(verb: str, given: Any) -> Act:
    """The verb with its fields. Raises Wrong."""
    if verb == "resolve":
        if given["outcome"] not in ENDS:
            raise Wrong("outcome", _("Choose one of the two."))
        return partial(Saga.resolve, end=given["outcome"])
    if verb != "skip":
        return WHOLE[verb]
    found = _PLACE.fullmatch(given["place"])
    if not found:
        raise Wrong("place", _("Choose one of the steps."))
    item = int(found[3]) if found[3] else None
    return partial(Saga.skip, step=found[2], item=item, action=Action(found[1]), output=_json(given, "output"))


def _json(given: Any, field: str) -> Any:
    text = given.get(field, "").strip()
    try:
        return read_json(text) if text else None
    except ValueError as error:
        raise Wrong(field, str(error)) from None


def _done(request: HttpRequest, saga_id: UUID, verb: str, act: Act | None, given: Any) -> HttpResponse:
    """Do it, say how the saga stands, and go back to it."""
    by = _by(request, given.get("reason", ""))
    if verb == "signal":
        saga = _signalled(saga_id, given, by)
    elif act is None:
        raise Wrong("outcome" if verb == "resolve" else "place", _("Choose one."))
    else:
        saga = platform().operations.act(saga_id, act, by)
    messages.success(request, f"{TITLES[verb]}: {saga.status}, {saga.state}.")
    response = HttpResponseRedirect(reverse("console:saga", args=[saga_id]))
    response.status_code = 303
    return response


def _by(request: HttpRequest, reason: str) -> By:
    if not 0 < len(reason.strip()) <= LONGEST_REASON or "\0" in reason:
        text = _("Say why, in 1 to %(longest)s characters: it is kept in the saga's history.")
        raise Wrong("reason", text % {"longest": LONGEST_REASON})
    return By(actor=request.caller.name, reason=reason.strip())


def _signalled(saga_id: UUID, given: Any, by: By) -> Saga:
    body = _json(given, "body") or {}
    if not isinstance(body, dict):
        raise Wrong("body", _("The message must be a JSON object."))
    if not signal(engine(), saga_id, {**body, "type": given.get("type", "")}, by=by):
        raise NotAwaited(_("The saga does not wait for this message now."))
    return engine().store.load(saga_id)


def _choices(seen: Any, verb: str) -> dict[str, Any]:
    """What a form offers."""
    if verb == "skip":
        return {"places": skips(seen)}
    if verb == "signal":
        return {"types": seen.saga.awaited_types()}
    return {"ends": ENDS, "refused_now": refusals(seen, engine().clock.now()).get(verb)}


def _previewed(saga: Saga, preview: Any) -> dict[str, Any]:
    """What would follow, as people may see it."""
    shown = preview_json(preview)
    calls = [masked_call(call, saga) for call in shown["calls"]]
    return {**shown, "calls": [{**call, "shown_body": pretty(call["body"])} for call in calls]}
