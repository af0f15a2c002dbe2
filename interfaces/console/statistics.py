"""How sagas went over time: how many, how well, how long, of all workflows or of one. Read from the rollup alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from application.statistics import EPOCH, EVER, percentile
from domain.events import FINISHED, SagaStatus
from interfaces.callers import READER
from interfaces.console.access import page
from interfaces.console.charts import Chart, Series, chart
from interfaces.console.live import live_page
from interfaces.platform import engine, platform
from interfaces.templatetags.console import decimal, seconds, share

WINDOWS = {
    "hour": (gettext_lazy("last hour"), gettext_lazy("a minute"), 60, 60, 60),
    "day": (gettext_lazy("last day"), gettext_lazy("half an hour"), 900, 1800, 48),
    "week": (gettext_lazy("last week"), gettext_lazy("three hours"), 3600, 10800, 56),
}
"""What each is called; the span of the rollup that it reads, which is kept for longer than it is looked at; the seconds
of a point, which is one span or several; and how many points there are."""
MINUTE = timedelta(minutes=1)
ENDINGS = (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED)


@dataclass(slots=True)
class Span:
    """What happened from `since` on, for as long as a span is."""

    since: datetime
    started: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    bins: Counter[int] = field(default_factory=Counter)

    @property
    def all(self) -> int:
        """How many ended."""
        return self.ended.total()

    def part(self, count: int) -> float | None:
        """Of those that ended."""
        return count / self.all if self.all else None

    @property
    def success(self) -> float | None:
        """The part that was done."""
        return self.part(self.ended[SagaStatus.COMPLETED])

    @property
    def median(self) -> float | None:
        """Seconds, approximately."""
        return percentile(self.bins, 0.5)

    @property
    def p95(self) -> float | None:
        """Seconds, approximately."""
        return percentile(self.bins, 0.95)

    def endings(self) -> list[int]:
        """How many ended how."""
        return [self.ended[status] for status in ENDINGS]


@page(READER)
def statistics(request: HttpRequest) -> HttpResponse:
    """The page; it moves with the sagas."""
    return live_page(
        request,
        "statistics",
        lambda: _shown(**_chosen(request)),
        lambda: {"here": "statistics", "chosen": _chosen(request), "workflows": _names(), "windows": WINDOWS},
    )


def _names() -> list[str]:
    return sorted({each.name for each in engine().definitions.all()})


def _chosen(request: HttpRequest) -> dict[str, str]:
    window, workflow = request.GET.get("window", "hour"), request.GET.get("workflow", "")
    return {
        "window": window if window in WINDOWS else "hour",
        "workflow": workflow if workflow in _names() else "",
    }


def _shown(window: str, workflow: str) -> dict[str, Any]:
    title, each, length, point, count = WINDOWS[window]
    spans = _spans(length, point, count, workflow or None)
    whole = _together(spans)
    return {
        "behind": _behind(),
        "title": title,
        "each": each,
        "whole": whole,
        "tiles": _tiles(whole),
        "charts": _charts(spans, window) if whole.all or whole.started else [],
        "spans": [span for span in reversed(spans) if span.all or span.started],
        "first": spans[0].since,
        "last": spans[-1].since,
        "endings": ENDINGS,
        "ended": _by_workflow(platform().statistics.ended(length, spans[0].since), workflow),
        "ever": _by_workflow(platform().statistics.ended(EVER, EPOCH), workflow),
    }


def _behind() -> int | None:
    """The minutes for which the figures lack endings; None while they lack none for longer than one."""
    since = platform().statistics.due_since()
    minutes = (engine().clock.now() - since) // MINUTE if since else 0
    return minutes if minutes >= 1 else None


def _spans(length: int, point: int, count: int, workflow: str | None) -> list[Span]:
    """The last points, oldest first; the newest is not over."""
    read, step = platform().statistics, timedelta(seconds=point)
    first = _begun(engine().clock.now(), step) - step * (count - 1)
    found = {since: Span(since) for since in (first + step * place for place in range(count))}
    for row in read.rolled(length, first, workflow):
        # A clock that is ahead of this one may have ended a saga later than now.
        if span := found.get(_begun(row.since, step)):
            _count(span, row.status, row.sagas, row.duration, row.retried)
    for since, live in read.live_since(point, first, workflow).items():
        if span := found.get(since):
            span.started += live
    return list(found.values())


def _begun(at: datetime, step: timedelta) -> datetime:
    return at - (at - EPOCH) % step


def _count(span: Span, status: str, sagas: int, duration: int, retried: int) -> None:
    if status in FINISHED:
        span.ended[status] += sagas
        span.bins[duration] += sagas
        span.retried += retried
    else:
        span.started += sagas


def _together(spans: Sequence[Span]) -> Span:
    whole = Span(spans[0].since)
    for span in spans:
        whole.started += span.started
        whole.retried += span.retried
        whole.ended += span.ended
        whole.bins += span.bins
    return whole


def _tiles(whole: Span) -> list[tuple[str, str]]:
    """The figures of the whole window."""
    undone = whole.part(whole.ended[SagaStatus.COMPENSATED])
    return [
        (str(whole.started), _("started")),
        (str(whole.all), _("ended")),
        (share(whole.success) or "–", _("of them succeeded")),
        (share(undone) or "–", _("of them undone")),
        (share(whole.part(whole.retried)) or "–", _("repeated a call")),
        (seconds(whole.median) or "–", _("median duration, about")),
        (seconds(whole.p95) or "–", _("p95 of durations, about")),
    ]


def _charts(spans: Sequence[Span], window: str) -> list[tuple[str, str, Chart]]:
    """Title, id and drawing of each."""
    whole = _together(spans)
    hints = [_hint(span, window) for span in spans]
    ended = {status: [span.ended[status] for span in spans] for status in ENDINGS}
    words = {
        "count": _("%(started)s started and %(ended)s ended; at most %(most)s ended in one span."),
        "success": _("%(success)s of those that ended succeeded."),
        "took": _("Half took at most %(median)s, 95 %% at most %(p95)s, about."),
    }
    figures = {
        "started": whole.started,
        "ended": whole.all,
        "most": max(span.all for span in spans),
        "success": share(whole.success) or "–",
        "median": seconds(whole.median) or "–",
        "p95": seconds(whole.p95) or "–",
    }
    begun = Series("started", _("started"), [span.started for span in spans])
    bars = [Series(f"of-{status}", status, ended[status], bars=True) for status in ENDINGS]
    success = Series("of-COMPLETED", _("success rate"), [span.success for span in spans])
    took = [
        Series("median", _("median"), [span.median for span in spans]),
        Series("p95", "p95", [span.p95 for span in spans]),
    ]
    return [
        (_("Started and ended"), "count", chart(words["count"] % figures, [*bars, begun], hints, _count_written)),
        (_("Success rate"), "success", chart(words["success"] % figures, [success], hints, share, top=1.0)),
        (_("Duration"), "took", chart(words["took"] % figures, took, hints, seconds)),
    ]


def _count_written(count: float) -> str:
    return decimal(f"{count:g}")


def _hint(span: Span, window: str) -> str:
    """What a span says under the pointer."""
    at = span.since.strftime("%Y-%m-%d %H:%M" if window == "week" else "%H:%M")
    endings = ", ".join(f"{count} {status}" for status, count in zip(ENDINGS, span.endings(), strict=True) if count)
    started = _("%(count)s started") % {"count": span.started}
    return f"{at} UTC · {started}" + (f" · {endings}" if endings else "")


def _by_workflow(ended: Mapping[str, Mapping[str, int]], workflow: str) -> list[dict[str, Any]]:
    rows: dict[str, Mapping[str, int]] = defaultdict(dict, ended)
    return [
        {"workflow": name, "counts": [(status, rows[name].get(status, 0)) for status in ENDINGS]}
        for name in sorted(ended)
        if workflow in {"", name}
    ]
