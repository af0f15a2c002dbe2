"""What this process counted and has not yet written where Prometheus' client keeps it.

Writing is what counting costs: under several processes each of some thirty numbers an order changes is a write into a
mapped file, with a lock and a look at the process id. Told in batches, most of them are one.
"""

import atexit
import logging
import os
import threading
from bisect import bisect_left
from collections import Counter as Counted
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import prometheus_client

logger = logging.getLogger("saga.metrics")

EVERY = 1.0
"""Seconds for which a process keeps what it counted to itself, at most; what a killed one has not told is lost."""
ROOM = 5000
"""So many are written by whoever counts the next one, where nothing else writes them."""


class Histogram(prometheus_client.Histogram):
    """One that takes many values at once."""

    def observe_all(self, values: Sequence[float]) -> None:
        """The same as `observe` for each; the client's own way writes a sum and a bucket for every one."""
        self._raise_if_not_observable()
        self._sum.inc(sum(values))  # first, as there
        for place, count in Counted(bisect_left(self._upper_bounds, value) for value in values).items():
            self._buckets[place].inc(count)


@cache
def child(metric: Any, *labels: str) -> Any:
    """The one of a metric with these labels: the client's own search for it costs as much as counting."""
    return metric.labels(*labels)


class Tally:
    """Safe for threads: to count is to append, which Python does at once."""

    def __init__(self) -> None:
        self._begin()
        atexit.register(self.write)
        os.register_at_fork(after_in_child=self._begin_again)

    def _begin(self) -> None:
        self._counts: deque[tuple[Any, ...]] = deque()
        self._values: deque[tuple[float, tuple[Any, ...]]] = deque()
        self._writing = threading.Lock()
        self._writer: threading.Thread | None = None

    def _begin_again(self) -> None:
        """In a new process: what waited is its parent's to write, and no thread came along."""
        started = self._writer is not None
        self._begin()
        if started:
            self.start()

    def count(self, *key: Any) -> None:
        """One more of a counter with these labels: (counter, label, ...)."""
        self._counts.append(key)
        if len(self._counts) > ROOM:
            self.write()

    def observe(self, value: float, *key: Any) -> None:
        """One more value of a histogram with these labels: (histogram, label, ...)."""
        self._values.append((value, key))
        if len(self._values) > ROOM:
            self.write()

    def write(self) -> None:
        """Write what was counted until now. Whoever comes while another writes waits until that is there too.

        What cannot be written is lost, is logged, and stops neither the rest nor whoever counted.
        """
        values = defaultdict(list)
        failed: Exception | None = None
        with self._writing:
            counts = Counted(_taken(self._counts))
            for value, key in _taken(self._values):
                values[key].append(value)
            for (metric, *labels), found in (*counts.items(), *values.items()):
                try:
                    if isinstance(found, int):
                        child(metric, *labels).inc(found)
                    else:
                        child(metric, *labels).observe_all(found)
                except Exception as error:  # noqa: BLE001 - of the client and of the file system
                    failed = error
        if failed:
            logger.error("some of what was counted could not be written", exc_info=failed)

    def start(self) -> None:
        """Write every now and then: for one whose numbers another process reads."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_for_ever, name="tally", daemon=True)
            self._writer.start()

    def _write_for_ever(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY):
            if self._counts or self._values:
                self.write()


def _taken(waiting: deque[Any]) -> Iterator[Any]:
    """All that waits now; what is appended meanwhile waits on."""
    return (waiting.popleft() for _ in range(len(waiting)))
