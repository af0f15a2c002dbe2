"""The list of sagas: how many are where, filters that are the address, newest first."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import ValidationError

from domain.events import LIVE, SagaStatus
from interfaces.callers import READER
from interfaces.console.access import page
from interfaces.console.live import live_page
from interfaces.listing import page_of_sagas
from interfaces.platform import engine, platform
from interfaces.privacy import masked_rows

LIVE_ORDER = [status for status in SagaStatus if status in LIVE]
FILTERS = ("q", "workflow", "status", "state", "active", "correlation_id", "tenant", "created_after", "created_before")


@page(READER)
def sagas(request: HttpRequest) -> HttpResponse:
    """The list; its first page moves with the sagas."""
    chosen = {name: request.GET.get(name, "") for name in FILTERS}
    return live_page(
        request, "sagas", lambda: {**_listed(request), **_counts(), "chosen": chosen}, lambda: _choices(chosen)
    )


def _choices(chosen: dict[str, str]) -> dict[str, Any]:
    """What the form offers."""
    return {
        "here": "sagas",
        "statuses": list(SagaStatus),
        "workflows": sorted({each.name for each in engine().definitions.all()}),
        "chosen": chosen,
        "more_filters": any(chosen[name] for name in FILTERS[3:]),
    }


def _listed(request: HttpRequest) -> dict[str, Any]:
    """A page of the list and the address of the next, or what is wrong with the address."""
    query = request.GET.copy()
    query.pop("live", None)
    try:
        found = page_of_sagas(query, show=masked_rows)
    except ValidationError as error:
        return {"faults": [f"{name}: {text}" for name, texts in error.detail.items() for text in texts]}
    filtered = any(query.get(name) for name in FILTERS)
    later = "cursor" in query
    query["cursor"] = str(found["next"])
    following = query.urlencode() if found["next"] else None
    del query["cursor"]
    return {
        "results": found["results"],
        "following": following,
        "newest": query.urlencode() if later else None,
        "filtered": filtered,
    }


def _counts() -> dict[str, Any]:
    """Live sagas by workflow and status: as cheap as they are few."""
    counts = platform().queries.live_counts()
    totals = {status: sum(row.get(status, 0) for row in counts.values()) for status in LIVE_ORDER}
    rows = [
        {"workflow": name, "counts": [(status, counts[name].get(status, 0)) for status in LIVE_ORDER]}
        for name in sorted(counts)
    ]
    return {"totals": totals, "by_workflow": rows, "live_order": LIVE_ORDER}
