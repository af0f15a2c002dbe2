"""What Prometheus is told of the operating system's processes: all of gunicorn's together, or the worker's one.

From /proc at scrape time; where there is none (macOS), only the version and the start are told.
"""

import contextlib
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

MASTER = "SAGA_MASTER_PROCESS"
"""The variable in which gunicorn's master leaves its process id to its workers."""
GC_EVERY = 5.0
TRIES = 3
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STARTED = time.time()
_ROOT = Path("/proc")

GARBAGE = Gauge(
    "saga_process_gc_collections",
    "Runs of Python's garbage collector since the processes started",
    ["generation"],
    multiprocess_mode="livesum",
)


@dataclass(frozen=True, slots=True)
class _Process:
    """A line of /proc/<pid>/stat; times in ticks."""

    own: int
    of_ended_children: int
    threads: int
    started: int
    pages: int
    files: int


class Processes(Collector):
    """`saga_build_info`, `saga_process_*`."""

    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[InfoMetricFamily | GaugeMetricFamily | CounterMetricFamily]:
        """The sums over the processes; their CPU time includes that of workers that ended, so it never falls."""
        yield InfoMetricFamily("saga_build", "What runs here", {"version": self._version})
        master = int(os.environ.get(MASTER, os.getpid()))
        found = _family(master)
        yield GaugeMetricFamily("saga_process_start_time_seconds", "When it was started", _started(found))
        if not found:
            return
        ticks = sum(process.own for process in found) + found[0].of_ended_children
        yield CounterMetricFamily("saga_process_cpu_seconds", "CPU time, user and system", ticks / _TICKS)
        memory = sum(process.pages for process in found) * _PAGE
        yield GaugeMetricFamily("saga_process_resident_memory_bytes", "Memory; shared pages count for each", memory)
        files = sum(process.files for process in found)
        yield GaugeMetricFamily("saga_process_open_fds", "Open files and sockets", files)
        threads = sum(process.threads for process in found)
        yield GaugeMetricFamily("saga_process_threads", "Threads", threads)
        yield GaugeMetricFamily("saga_process_count", "Processes", len(found))


def _family(master: int) -> list[_Process]:
    """The master first, then its children that live; none where there is no /proc."""
    for _ in range(TRIES):  # a worker that ends meanwhile is in none of the numbers, or twice: they are read anew
        with contextlib.suppress(OSError, ValueError):
            children = (_ROOT / f"{master}/task/{master}/children").read_text().split()
            mine = [master, *map(int, children)] if MASTER in os.environ else [master]
            return [_read(pid) for pid in mine]
    return []


def _read(pid: int) -> _Process:
    # The second field is the name in brackets, and may hold anything; field 3 of `man proc_pid_stat` is the first here.
    fields = (_ROOT / f"{pid}/stat").read_text().rpartition(")")[2].split()
    return _Process(
        own=int(fields[11]) + int(fields[12]),
        of_ended_children=int(fields[13]) + int(fields[14]),
        threads=int(fields[17]),
        started=int(fields[19]),
        pages=int(fields[21]),
        files=len(os.listdir(_ROOT / f"{pid}/fd")),  # noqa: PTH208 - names are enough
    )


def _started(found: list[_Process]) -> float:
    if not found:
        return _STARTED
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(boot + found[0].started / _TICKS, 1)


class GarbageWatch:
    """Tells this process's collections now and then: gunicorn's other processes cannot be asked at scrape time."""

    def __init__(self) -> None:
        self._next = 0.0

    def look(self, now: float) -> None:
        """Tell them when it is time; `now` is monotonic."""
        if now < self._next:
            return
        self._next = now + GC_EVERY
        for generation, each in enumerate(gc.get_stats()):
            GARBAGE.labels(str(generation)).set(each["collections"])
