"""Runs reference services as real processes and calls them over real HTTP."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition: Callable[[], Any], what: str) -> Any:
    """Ask again and again, for at most the deadline; the first true value is the answer."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {DEADLINE} s")


def at_once(count: int, *calls: Callable[[], Any]) -> list[Any]:
    """Each call ``count`` times, all together; the answers in the order of the calls."""
    gate = threading.Barrier(count * len(calls), timeout=DEADLINE)

    def run(call: Callable[[], Any]) -> Any:
        gate.wait()
        return call()

    with ThreadPoolExecutor(count * len(calls)) as pool:
        futures = [pool.submit(run, call) for call in calls for _ in range(count)]
        return [future.result(DEADLINE) for future in futures]


class Participant:
    """One running service."""

    def __init__(self, name: str, directory: Path, *options: str, database: str | None = None) -> None:
        self.name, self.port = name, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = database or str(directory / f"{name}.sqlite3")
        self.log = directory / f"{name}.log"
        command = [sys.executable, "-m", "participants", name, "--port", str(self.port), "--database", self.database]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=log, stderr=log)
        until(self._healthy, f"{name} healthy")

    def _healthy(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.call("GET", "/health").ok
        except requests.ConnectionError:
            return False

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: Any):
        headers = {"Idempotency-Key": key} if key else {}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=DEADLINE, **more)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def effects(self, saga_id: str) -> list[tuple[str, str, float]]:
        """What was really applied for this saga: key, operation, quantity."""
        rows = self.get(f"/_ledger?saga_id={saga_id}")["effects"]
        return [(row["key"], row["operation"], row["quantity"]) for row in rows]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)


@contextmanager
def running(name: str, directory: Path, *options: str, database: str | None = None) -> Iterator[Participant]:
    participant = Participant(name, directory, *options, database=database)
    try:
        yield participant
    finally:
        if participant.process.poll() is None:
            participant.stop()


class Reservation:
    """The calls of one saga's reservation step: its do, and its undo."""

    def __init__(self, inventory: Participant, path: str, units: int = 2) -> None:
        self.inventory, self.path, self.units = inventory, path, units
        self.saga_id = str(uuid4())
        self.key = f"{self.saga_id}:reservation_stock[0]:do"

    def do(self) -> requests.Response:
        return self.inventory.call("POST", f"{self.path}reservations/", {"quantite": self.units}, key=self.key)

    def undo(self) -> requests.Response:
        body = {"quantite": self.units, "undo_of": self.key}
        return self.inventory.call("POST", f"{self.path}liberations/", body, key=f"{self.key[:-3]}:undo")

    def effects(self) -> list[str]:
        """The operations that were really applied."""
        return [operation for _, operation, _ in self.inventory.effects(self.saga_id)]

    def available(self) -> int:
        return self.inventory.get(self.path)["quantite_disponible"]
