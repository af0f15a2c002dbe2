"""What happens to sagas, as it happens, for `manage.py saga tail`.

A saga that moved is live, or has ended a moment ago: so each look reads the live ones, which are few, and those that
ended since the look before, by index; and then only the new events of those that have more than were seen. It looks
`MARGIN` further back than it did last, because a time is taken before its commit, and by another machine's clock: what
comes late is found, and what was seen is not shown twice.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from application.queries import SagaQueries

MARGIN = timedelta(seconds=10)
"""A checkpoint commits within three seconds, or not at all; the rest is for clocks that differ."""
AT_ONCE = 500
"""Sagas whose events are read by one statement."""
ENDED_AT_ONCE = 5000
Rows = list[dict[str, Any]]


class Tail:
    """The events of all sagas, or of one workflow's, from a time on, or from now."""

    def __init__(self, queries: SagaQueries, workflow: str | None = None, since: datetime | None = None) -> None:
        self._queries, self._workflow = queries, workflow
        self._seen: dict[UUID, int] = {}
        """Of each saga that a look may find again, how many of its events were seen."""
        self._live: set[UUID] = set()
        self._from = self._since = since or queries.now() - MARGIN
        if since is None:
            self._seen = dict(self._standing())

    def look(self) -> Iterator[Rows]:
        """The events since the last look, those of a few hundred sagas at a time, each time in their order."""
        begun, found, moved = self._queries.now(), dict[UUID, int](), dict[UUID, int]()
        for saga_id, seq in self._standing():
            found[saga_id] = seq
            if seq > self._seen.get(saga_id, 0):
                moved[saga_id] = self._seen.get(saga_id, 0)
            if len(moved) == AT_ONCE:
                yield self._events(moved, found)
                moved = {}
        if moved:
            yield self._events(moved, found)
        # Only now: a look that the database cut short is made again from where it began.
        self._seen, self._from = found, begun - MARGIN

    def _events(self, moved: dict[UUID, int], found: dict[UUID, int]) -> Rows:
        rows = self._queries.events_beyond(moved, self._since)
        self._seen |= {saga_id: found[saga_id] for saga_id in moved} | {row["saga_id"]: row["seq"] for row in rows}
        found |= {saga_id: max(found[saga_id], self._seen[saga_id]) for saga_id in moved}
        return rows

    def _standing(self) -> Iterator[tuple[UUID, int]]:
        """How many events each saga has that may have moved: what ended first, then what is live."""
        live, ended = self._queries.live(self._workflow), set()
        for saga_id, seq in self._ended():
            ended.add(saga_id)
            yield saga_id, seq
        yield from live.items()
        for saga_id in self._live - ended - set(live):  # it ended by a clock that is far behind
            yield saga_id, self._seen.get(saga_id, 0) + 1
        self._live = set(live)

    def _ended(self) -> Iterator[tuple[UUID, int]]:
        since = self._from
        while rows := self._queries.ended(self._workflow, since, ENDED_AT_ONCE):
            yield from ((saga_id, seq) for saga_id, seq, _ in rows)
            last = rows[-1][2]
            if len(rows) < ENDED_AT_ONCE:
                return
            since = last if last > since else last + timedelta(microseconds=1)
