"""Counts and times from PostgreSQL, each from as many rows as asked for and no more."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.db import connection

from application.statistics import Times
from domain.events import FINISHED

_SQL = Path(__file__).parent / "sql"
_RECENT, _TIMES = ((_SQL / f"{name}.sql").read_text() for name in ("recent", "times"))


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
