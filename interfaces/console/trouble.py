"""Trouble: what is parked and what it owes, what fails in the same way, and remedies for all of it at once."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from application.bulk import Bulk, FailureGroup
from domain.exceptions import GroupGrown
from interfaces.callers import OPERATOR, READER
from interfaces.console.access import page
from interfaces.console.live import live_page
from interfaces.console.seldom import Seldom
from interfaces.failures_api import MOST_BULKS, MOST_GROUPS, MOST_REFUSALS, MOST_UNSENT
from interfaces.operations_api import DEFAULT_RATE, FASTEST, LONGEST_REASON, SLOWEST
from interfaces.platform import engine, platform
from interfaces.privacy import hidden, masked_rows, masks_of

MOST_PARKED = 25
_groups = Seldom(lambda: platform().bulk.failures(MOST_GROUPS))
VERBS = ("retry", "compensate")
_SIZE = re.compile(r"[0-9]{1,9}")


@page(READER)
def trouble(request: HttpRequest) -> HttpResponse:
    """All of it, live."""
    return live_page(request, "trouble", _shown, lambda: {"here": "trouble"})


def _shown() -> dict[str, Any]:
    now = engine().clock.now()
    parked = platform().queries.parked(MOST_PARKED + 1)
    bulks = [_progress(bulk) for bulk in platform().bulk.recent(MOST_BULKS)]
    return {
        "debts": platform().queries.debts(),
        "parked": masked_rows(parked[:MOST_PARKED]),
        "more_parked": len(parked) > MOST_PARKED,
        "groups": _readable(_groups.get()),
        "running": [bulk for bulk in bulks if not bulk["finished_at"]],
        "ended": [bulk for bulk in bulks if bulk["finished_at"]][:10],
        "unsent": platform().outbox.refused(MOST_UNSENT),
        "operator": OPERATOR,
        "now": now,
    }


def _readable(groups: Sequence[FailureGroup]) -> list[FailureGroup]:
    """The groups, each with the reason of its example as people may see it."""
    masks = masks_of(platform().queries.by_ids({group.examples[0] for group in groups}).values())
    return [replace(group, reason=masks.get(group.examples[0], hidden)(group.reason)) for group in groups]


def _progress(bulk: Bulk) -> dict[str, Any]:
    """A remedy and how far it has come."""
    turns = bulk.done + bulk.refused
    return {
        "id": bulk.id,
        "verb": bulk.verb,
        "reason": bulk.reason,
        "actor": bulk.actor,
        "created_at": bulk.created_at,
        "finished_at": bulk.finished_at,
        "cancelled": bulk.cancelled,
        "cancelled_by": bulk.cancelled_by,
        "total": bulk.total,
        "done": bulk.done,
        "refused": bulk.refused,
        "turns": turns,
        "percent": turns * 10 // max(bulk.total, 1) * 10,
        "seconds_left": (bulk.total - turns) / bulk.per_second,
        "per_second": bulk.per_second,
    }


@page(OPERATOR)
def remedy(request: HttpRequest, group: str, verb: str) -> HttpResponse:
    """One verb for every saga of a group: how many, how long it takes; posted, it begins."""
    found = platform().bulk.group(group) if verb in VERBS else None
    if found is None:
        raise Http404(_("No live saga is in this trouble now."))
    faults: dict[str, str] = {}
    if request.method == "POST":
        per_second, reason = _rate(request, faults), _reason(request, faults)
        try:
            if not faults:
                return _begun(request, group, verb, per_second, reason)
        except GroupGrown:
            found = platform().bulk.group(group) or found
            text = _("More sagas are in this trouble by now than you were shown: %(n)s. Nothing has been done.")
            faults["seen"] = text % {"n": found.sagas}
    rate = request.POST.get("per_second", f"{DEFAULT_RATE:g}")
    shown = {
        "here": "trouble",
        "caller": request.caller,
        "group": _readable([found])[0],
        "verb": verb,
        "faults": faults,
        "given": {"reason": request.POST.get("reason", ""), "per_second": rate},
        "seconds": found.sagas / DEFAULT_RATE,
        "limits": {"slowest": SLOWEST, "fastest": FASTEST, "longest": LONGEST_REASON},
    }
    return render(request, "console/remedy.html", shown, status=400 if faults else 200)


def _rate(request: HttpRequest, faults: dict[str, str]) -> float:
    try:
        rate = float(request.POST.get("per_second", ""))
    except ValueError:
        rate = -1.0
    if not SLOWEST <= rate <= FASTEST:
        limits = {"slowest": f"{SLOWEST:g}", "fastest": f"{FASTEST:g}"}
        faults["per_second"] = _("A number from %(slowest)s to %(fastest)s.") % limits
    return rate


def _reason(request: HttpRequest, faults: dict[str, str]) -> str:
    reason = request.POST.get("reason", "").strip()
    if not 0 < len(reason) <= LONGEST_REASON or "\0" in reason:
        text = _("Say why, in 1 to %(longest)s characters: it is kept in each saga's history.")
        faults["reason"] = text % {"longest": LONGEST_REASON}
    return reason


def _begun(request: HttpRequest, group: str, verb: str, per_second: float, reason: str) -> HttpResponse:
    """The remedy, or the one that does the same already; then to its progress. Raises GroupGrown."""
    seen = request.POST.get("seen", "")
    asked = Bulk(
        id=engine().new_id(),
        group=group,
        verb=verb,
        reason=reason,
        actor=request.caller.name,
        per_second=per_second,
        created_at=engine().clock.now(),
    )
    bulk = platform().bulk.begin(asked, int(seen) if _SIZE.fullmatch(seen) else 0)
    if bulk is None:
        raise Http404(_("No live saga is in this trouble now."))
    if bulk.id != asked.id:
        messages.warning(request, _("The same is being done already, by %(actor)s.") % {"actor": bulk.actor})
    return _to(bulk.id)


@page(READER)
def bulk(request: HttpRequest, bulk_id: UUID) -> HttpResponse:
    """One remedy, live."""
    return live_page(request, "bulk", lambda: _remedied(bulk_id), lambda: {"here": "trouble", "bulk_id": bulk_id})


def _known(bulk_id: UUID) -> Bulk:
    found = platform().bulk.load(bulk_id)
    if found is None:
        raise Http404(_("There is no such remedy."))
    return found


def _remedied(bulk_id: UUID) -> dict[str, Any]:
    found = _known(bulk_id)
    refusals = platform().bulk.refusals(bulk_id, MOST_REFUSALS)
    by_reason = Counter(why for _, why in refusals)
    shown = {"bulk": _progress(found), "refusals": refusals, "by_reason": by_reason.most_common(), "operator": OPERATOR}
    return {**shown, "settled": found.finished_at is not None}


@require_POST
@page(OPERATOR)
def cancel(request: HttpRequest, bulk_id: UUID) -> HttpResponse:
    """Do it to no more sagas."""
    _known(bulk_id)
    platform().bulk.cancel(bulk_id, request.caller.name, engine().clock.now())
    return _to(bulk_id)


def _to(bulk_id: UUID) -> HttpResponse:
    response = HttpResponseRedirect(reverse("console:bulk", args=[bulk_id]))
    response.status_code = 303
    return response
