"""What people cost who only look: viewers of pages that bring themselves up to date, while no saga moves.

A worker says all the while that it is at work, as one does wherever sagas are driven.
"""

import contextlib
import http.client
import re
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import unescape
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from django.db import connection as database

from devstack import postgres
from devstack.bench_measure import Stopwatch, children
from devstack.scale_server import Served, serving
from interfaces.progress_bar import ProgressBar

WIDTH = 100
BEAT_EVERY = 2.0
"""Seconds, as a worker's."""
_BEAT = """
INSERT INTO saga_workers (name, started_at, seen_at) VALUES ('scale:1', now(), now())
ON CONFLICT (name) DO UPDATE SET seen_at = now()
"""
_OF_VIEWERS = "FROM pg_stat_statements WHERE query NOT LIKE '%saga_workers%'"
"""Their statements: all but the beats."""
LIVE_PART = re.compile(r'<div id="live" hx-get="([^"]*)"')
"""Where a page of the console says what its browser asks for from then on."""


@dataclass(slots=True)
class Viewer:
    """One browser: it asks again every so often, as the page that it looks at would, or holds a stream open."""

    served: Served
    path: str
    every: float
    times: list[float] = field(default_factory=list)
    """Milliseconds of each answer; of a stream, until its head came."""
    failures: list[str] = field(default_factory=list)
    etag: str = '""'

    def open(self) -> None:
        """The first look, which costs what a page costs; what follows is what a viewer costs."""
        client = self.served.connect()
        self._look_once(client, time.monotonic())
        client.close()
        self.times.clear()

    def look(self, first: float, until: float) -> None:
        """From its first look, at that time, to the end."""
        time.sleep(max(0.0, first - time.monotonic()))
        client = self.served.connect()
        while time.monotonic() < until:
            try:
                self._look_once(client, until)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(str(error) or type(error).__name__)
                client.close()
            time.sleep(max(0.0, min(self.every, until - time.monotonic())))
        client.close()

    def _look_once(self, client: http.client.HTTPConnection, until: float) -> None:
        begun = time.perf_counter()
        client.request("GET", self.path, headers={"If-None-Match": self.etag})
        response = client.getresponse()
        streams = (response.getheader("Content-Type") or "").startswith("text/event-stream")
        if not streams and (live := LIVE_PART.search(response.read().decode())):
            self.path = unescape(live[1])
        self.times.append((time.perf_counter() - begun) * 1000)
        self.etag = response.getheader("ETag") or '""'
        if response.status not in {200, 204, 304}:
            self.failures.append(f"status {response.status}")
        if streams:
            _follow(client, response, until)


def measure(data: Path, paths: Sequence[str], viewers: int, seconds: float, every: float) -> bool:
    """Print what so many viewers cost, for so long; whether each was answered every time.

    They share the paths out among themselves; with `{id}` in one, each looks at a finished saga of its own.
    """
    _run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    with serving(data) as served:
        audience = [Viewer(served, path, every) for path in _paths(paths, viewers)]
        for viewer in audience:
            viewer.open()
        _run("SELECT pg_stat_statements_reset()")
        stopwatch = Stopwatch(
            gunicorn=lambda: children(served.process), postgres=lambda: postgres.processes(data / "postgres")
        )
        with _beating():
            _watch(audience, seconds, every)
        stopwatch.stop()
        ((statements,),) = _run(f"SELECT coalesce(sum(calls), 0) {_OF_VIEWERS}")
        most = _run(f"SELECT calls, query {_OF_VIEWERS} ORDER BY calls DESC LIMIT 5")
    _tell(" ".join(paths), audience, seconds, int(statements), stopwatch.seconds)
    for calls, query in most:
        print(f"  {calls:>6}  {' '.join(query.split())[:WIDTH]}")
    return not any(viewer.failures for viewer in audience)


def _paths(paths: Sequence[str], viewers: int) -> list[str]:
    """One for each viewer."""
    ids = _run(f"SELECT id FROM sagas WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT {viewers:d}")  # noqa: S608 - a number
    chosen = islice(cycle(paths), viewers)
    return [path.replace("{id}", str(saga_id)) for path, (saga_id,) in zip(chosen, cycle(ids), strict=False)]


@contextlib.contextmanager
def _beating() -> Iterator[None]:
    """Report as a worker does until the block ends, and then that there is none."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_EVERY):
            _run(_BEAT)
        _run("DELETE FROM saga_workers WHERE name = 'scale:1'")
        database.close()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(audience: list[Viewer], seconds: float, every: float) -> None:
    """All of them look for so long; they do not all begin at once."""
    begun = time.monotonic()
    looks = [(begun + min(every, seconds) * number / len(audience), begun + seconds) for number in range(len(audience))]
    threads = [threading.Thread(target=viewer.look, args=times) for viewer, times in zip(audience, looks, strict=True)]
    for thread in threads:
        thread.start()
    with ProgressBar("watching", round(seconds), "s") as bar:
        while any(thread.is_alive() for thread in threads):
            bar.at(min(round(seconds), round(time.monotonic() - begun)))
            threads[-1].join(0.2)
            threads = [thread for thread in threads if thread.is_alive()] or threads[:1]


def _follow(client: http.client.HTTPConnection, response: http.client.HTTPResponse, until: float) -> None:
    """Take what a stream sends until the time is over."""
    with contextlib.suppress(TimeoutError):
        while (left := until - time.monotonic()) > 0:
            client.sock.settimeout(left)
            if not response.readline():
                return
    client.close()


def _tell(path: str, audience: list[Viewer], seconds: float, statements: int, cpu: dict[str, float]) -> None:
    times = sorted(one for viewer in audience for one in viewer.times)
    failures = [failure for viewer in audience for failure in viewer.failures]
    print(f"\n{len(audience)} viewers of {path} for {seconds:g} s, while no saga moves:")
    if times:
        late = times[len(times) * 95 // 100]
        print(f"  {len(times)} answers, {statistics.median(times):.1f} ms at the median, {late:.1f} ms at 95 of 100")
    print(f"  {len(failures)} failures" + (f", the first: {failures[0]}" if failures else ""))
    print(f"  {statements} statements, {statements / seconds:.1f} a second")
    for group, spent in cpu.items():
        print(f"  {group}: {spent / seconds * 100:.0f} % of a core")


def _run(statement: str) -> list[tuple[Any, ...]]:
    with database.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
