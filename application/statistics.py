"""What finished sagas tell about their workflow: how often it succeeds, and how long it and each of its steps take.

Over time it is told by a rollup: how many ended in each span of time, how, and in which bin of durations. It is kept
apart from the sagas, so it outlives them and costs the same however many there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

EVER = 0
"""The span that has no end; it begins at `EPOCH`."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEPT: Mapping[int, timedelta | None] = {
    60: timedelta(hours=6),
    900: timedelta(days=3),
    3600: None,
    EVER: None,
}
"""The spans that are counted, in seconds, and for how long each is kept; None is for good."""
BOUNDS = (
    0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0,
    15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0, 604800.0,
)  # fmt: skip
"""Seconds at which one bin of durations ends and the next begins; bin 0 is below the first. What is stored is numbered
by them: they can be added to at the end, and not changed otherwise."""


@dataclass(frozen=True, slots=True)
class Times:
    """How a step went in the sagas that were looked at; of the whole, `step` is None. Times in seconds.

    A step's time is from its first attempt until it was decided, with all its retries and items between.
    """

    step: str | None
    begun: int
    done: int
    failed: int
    undone: int
    retried: int
    """How many of `begun` needed more than one attempt somewhere."""
    median: float | None
    p95: float | None
    longest: float | None


@dataclass(frozen=True, slots=True)
class Rolled:
    """So many sagas in one span of time: how they ended and in which bin of durations, and how many repeated a call.

    RUNNING counts those that started in it and have ended since, whenever that was.
    """

    since: datetime
    status: str
    duration: int
    sagas: int
    retried: int


def percentile(bins: Mapping[int, int], part: float) -> float | None:
    """The seconds that this part of the sagas did not exceed, taken as evenly spread in their bin; None of none.

    Approximate: wrong by a bin's width at most. What took longer than the last bound is told as that.
    """
    left = sum(bins.values()) * part
    if not left:
        return None
    for number in sorted(bins):
        if bins[number] and left <= bins[number]:
            low = BOUNDS[number - 1] if number else 0.0
            high = BOUNDS[number] if number < len(BOUNDS) else low
            return low + (high - low) * left / bins[number]
        left -= bins[number]
    return BOUNDS[-1]


class Statistics(Protocol):
    """Counts and times that cost the same however many sagas are stored."""

    def recent(self, workflows: Sequence[str], sagas: int) -> Mapping[str, Mapping[str, int]]:
        """How so many sagas of each workflow ended that finished last: `{workflow: {status: n}}`."""

    def times(self, workflow: str, version: int, sagas: int, events: int) -> list[Times]:
        """The whole and each step, over the newest finished sagas of a version: so many and so many events at most."""

    def roll_up(self, now: datetime, limit: int) -> int:
        """Add so many endings, at most, to the rollup, each exactly once; how many it were. Lets go what is too old.

        Any number of processes may call it: one at a time does something.
        """

    def due_since(self) -> datetime | None:
        """When the oldest ending ended that is not in the rollup yet; None when all are."""

    def rolled(self, span: int, since: datetime, workflow: str | None) -> list[Rolled]:
        """The spans of this length from a time on, of one workflow or of all together."""

    def ended(self, span: int, since: datetime) -> Mapping[str, Mapping[str, int]]:
        """How many ended in these spans: `{workflow: {status: n}}`."""

    def live_since(self, span: int, since: datetime, workflow: str | None) -> Mapping[datetime, int]:
        """How many started in each of these spans and are live; as cheap as live sagas are few."""
