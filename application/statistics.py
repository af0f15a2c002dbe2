"""What finished sagas tell about their workflow: how often it succeeds, and how long it and each of its steps take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


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


class Statistics(Protocol):
    """Counts and times that cost the same however many sagas are stored."""

    def recent(self, workflows: Sequence[str], sagas: int) -> Mapping[str, Mapping[str, int]]:
        """How so many sagas of each workflow ended that finished last: `{workflow: {status: n}}`."""

    def times(self, workflow: str, version: int, sagas: int, events: int) -> list[Times]:
        """The whole and each step, over the newest finished sagas of a version: so many and so many events at most."""
