"""Counts and times from PostgreSQL, each from as many rows as asked for and no more."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import Sum

from application.statistics import BOUNDS, EPOCH, KEPT, Rolled, Times
from domain.events import FINISHED
from infrastructure.models import RollupDueRow, RollupRow

LOCK = 0x5A6A0B10
"""The advisory lock of the process that fills the rollup."""

_SQL = Path(__file__).parent / "sql"
_RECENT, _TIMES, _ROLL_UP = ((_SQL / f"{name}.sql").read_text() for name in ("recent", "times", "roll_up"))
_LIVE_SINCE = """
SELECT date_bin(%(span)s * interval '1 s', created_at, 'epoch'), count(*) FROM sagas
WHERE finished_at IS NULL AND created_at >= %(since)s AND (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
GROUP BY 1
"""


class PostgresStatistics:
    """The `Statistics` over Django's connection of the current thread."""

    def recent(self, workflows: Sequence[str], sagas: int) -> Mapping[str, Mapping[str, int]]:
        """See `Statistics`."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        with connection.cursor() as cursor:
            cursor.execute(_RECENT, {"workflows": list(workflows), "sagas": sagas})
            for workflow, status, count in cursor.fetchall():
                found[workflow][status] = count
        return found

    def times(self, workflow: str, version: int, sagas: int, events: int) -> list[Times]:
        """See `Statistics`."""
        chosen = {"workflow": workflow, "version": version, "statuses": sorted(FINISHED)}
        with connection.cursor() as cursor:
            cursor.execute(_TIMES, {**chosen, "sagas": sagas, "events": events})
            return [Times(*row) for row in cursor.fetchall()]

    def roll_up(self, now: datetime, limit: int) -> int:
        """See `Statistics`. Two statements: crashing between them leaves what is too old to the next time."""
        since = [now - kept if kept else EPOCH for kept in KEPT.values()]
        parameters = {"lock": LOCK, "limit": limit, "bounds": list(BOUNDS), "spans": list(KEPT), "since": since}
        with connection.cursor() as cursor:
            cursor.execute(_ROLL_UP, parameters)
            (count,) = cursor.fetchone()
        for span, first in zip(KEPT, since, strict=True):
            if KEPT[span]:
                RollupRow.objects.filter(span=span, since__lt=first).delete()
        return int(count)

    def due_since(self) -> datetime | None:
        """See `Statistics`. A row that takes an ending off again has the time of that one, and is passed over."""
        due = RollupDueRow.objects.filter(sagas__gt=0).order_by("id").values_list("finished_at", flat=True)
        return due.first()

    def rolled(self, span: int, since: datetime, workflow: str | None) -> list[Rolled]:
        """See `Statistics`."""
        rows = _spans(span, since, workflow).values_list("since", "status", "duration")
        return [Rolled(*row) for row in rows.annotate(n=Sum("sagas"), again=Sum("retried")).filter(n__gt=0)]

    def ended(self, span: int, since: datetime) -> Mapping[str, Mapping[str, int]]:
        """See `Statistics`."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        rows = _spans(span, since, None).filter(status__in=sorted(FINISHED)).values_list("workflow", "status")
        for workflow, status, count in rows.annotate(n=Sum("sagas")).filter(n__gt=0):
            found[workflow][status] = count
        return found

    def live_since(self, span: int, since: datetime, workflow: str | None) -> Mapping[datetime, int]:
        """See `Statistics`."""
        with connection.cursor() as cursor:
            cursor.execute(_LIVE_SINCE, {"span": span, "since": since, "workflow": workflow})
            return dict(cursor.fetchall())


def _spans(span: int, since: datetime, workflow: str | None) -> Any:
    return RollupRow.objects.filter(span=span, since__gte=since, **({"workflow": workflow} if workflow else {}))
