"""What the benchmark reads from Linux and from PostgreSQL: CPU time of processes, commits, syncs of the log."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import psycopg2

Group = Callable[[], list[int]]  # the process ids of now: workers and sessions come and go
TICKS = os.sysconf("SC_CLK_TCK")


class Stopwatch:
    """CPU seconds (user and system) by group of processes, from `add` to `stop`."""

    def __init__(self, **groups: Group) -> None:
        self.seconds: dict[str, float] = {}
        self._groups: dict[str, Group] = {}
        self.add(**groups)

    def add(self, **groups: Group) -> None:
        for name, group in groups.items():
            self._groups[name] = group
            self.seconds[name] = -_spent(group())

    def stop(self) -> None:
        for name, group in self._groups.items():
            self.seconds[name] += _spent(group())


def children(root: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def _spent(pids: list[int]) -> float:
    """Of the processes and of their children that have ended: nothing is lost when a worker or a session ends."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(int(field) for field in _stat(pid)[11:15])
    return total / TICKS


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) after the name: state, parent, ..., utime, stime, cutime, cstime."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class DatabaseCounts:
    """Commits and log syncs of the whole run. A session reports its own with a delay, at the latest when it ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._before = self._read()

    def per_saga(self, sagas: int) -> dict[str, float]:
        names = ("commits_per_saga", "wal_syncs_per_saga", "wal_bytes_per_saga")
        return {
            name: (after - before) / sagas
            for name, before, after in zip(names, self._before, self._read(), strict=True)
        }

    def _read(self) -> tuple[float, ...]:
        with contextlib.closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = current_database()),"
                " (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'),"
                " pg_current_wal_lsn() - '0/0'"
            )
            row = cursor.fetchone()
        assert row is not None
        return tuple(float(value) for value in row)
