"""The orchestrator's web process on the filled database, and how to ask it for a page."""

import http.client
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from devstack.processes import Processes, answers, free_port

ROOT = Path(__file__).resolve().parent.parent
SECONDS_TO_START = 30
LONGEST_WAIT = 60.0
"""Seconds for one page."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for one request."""

    status: int
    milliseconds: float
    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where, and which process to charge."""

    port: int
    process: int

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one client."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_WAIT)


@contextmanager
def serving(data: Path, session: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Gunicorn as in production; `session` are PostgreSQL settings of its sessions alone."""
    port, metrics = free_port(), data / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(parents=True)
    environment = {**os.environ, "DATABASE_URL": _url(session or {}), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    command = [sys.executable, "-m", "gunicorn", "saga_service.wsgi:application", "--bind", f"127.0.0.1:{port}"]
    with Processes(data / "logs", ROOT) as processes:
        process = processes.start(
            "orchestrator", [*command, "--config", str(ROOT / "saga_service" / "gunicorn_conf.py")], environment
        )
        processes.wait_until("orchestrator", lambda: answers(f"http://127.0.0.1:{port}/health"), SECONDS_TO_START)
        yield Served(port, process)


def ask(connection: http.client.HTTPConnection, path: str, etag: str | None = None) -> Answer:
    """Get a page and read it to its end."""
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Accept": "text/html, application/json", "If-None-Match": etag or '""'})
    response = connection.getresponse()
    size = len(response.read())
    spent = (time.perf_counter() - begun) * 1000
    return Answer(response.status, spent, size, response.getheader("ETag"))


def _url(session: Mapping[str, str]) -> str:
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    return os.environ["DATABASE_URL"] + (f"?options={quote(options)}" if options else "")
