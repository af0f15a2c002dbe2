"""The whole product as `make run` starts it, part by part, so that a test can stop one and start it again."""

import dataclasses
import os
import random
import re
import signal
from pathlib import Path
from typing import Any, ClassVar, Self

import requests

from devstack import broker, postgres
from devstack.first_order import place_order
from devstack.processes import Processes, is_free
from devstack.run import _migrate
from devstack.stack import DEVELOPMENT_KEY, ROOT, Part, Ports, Stack

SECONDS_TO_START = 60
# What would lead a stack of its own to somebody else's database or participants.
FOREIGN = re.compile(r"DATABASE_URL|DB_\w+|\w+_URL|\w+_PORT|PROMETHEUS_MULTIPROC_DIR|DJANGO_SETTINGS_MODULE")


class Parts(Processes):
    """Processes that can be killed one by one."""

    def kill(self, name: str) -> None:
        process = self._started.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Nothing of it is kept, so nothing has to end in order."""
        while self._started:
            self.kill(next(iter(self._started)))

    def send(self, name: str, number: signal.Signals) -> None:
        os.killpg(self._started[name].pid, number)


class System:
    """The stack in parts. Use as a context manager: leaving it ends everything."""

    database_settings: ClassVar[dict[str, str]] = {"fsync": "off"}
    api_settings: ClassVar[dict[str, str]] = {}

    def __init__(self, base_port: int, directory: Path) -> None:
        self.stack = Stack(Ports.of({}, base_port), directory)
        self.ports = self.stack.ports
        self.processes = Parts(directory / "logs", ROOT)
        self.parts: dict[str, Part] = {}
        self.session = requests.Session()
        self.session.headers["X-API-Key"] = DEVELOPMENT_KEY

    def __enter__(self) -> Self:
        self.processes.__enter__()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.processes.stop()
        broker.stop(self.stack.data / "broker")
        postgres.stop(self.stack.data / "postgres", "immediate")

    def _start(self) -> None:
        self.stack.metrics.mkdir(parents=True)
        data, port = self.stack.data / "postgres", self.ports.postgres
        self.database = postgres.ensure_running(data, port, self.database_settings)
        bus = {"BROKER_URL": broker.ensure_running(self.stack.data / "broker", self.ports.broker)}
        self.needed = {"DATABASE_URL": self.database, **bus}
        for part in [*self.stack.participants(bus), self.stack.development_gateway(), *self._besides()]:
            faults = ["--faults"] if "participants" in part.command else []
            self._begin(Part(part.name, [*part.command, *faults], part.health, part.environment))
        _migrate(self.stack, self.needed, self.processes.log("migrate"))
        self._begin(self.stack.orchestrator({**self.needed, **self.api_settings}))
        self._begin(self.stack.worker(self.needed))
        for part in [*self.parts.values(), self.stack.readiness()]:
            self.processes.wait_until(part.name, part.is_healthy, SECONDS_TO_START)
        place_order(self.stack)

    def _besides(self) -> list[Part]:
        """What else is to run; the database is there already."""
        return []

    def _begin(self, part: Part) -> None:
        self.parts[part.name] = part
        self.processes.start(
            part.name, part.command, {name: v for name, v in part.environment.items() if _own(name, v)}
        )

    def kill(self, name: str) -> None:
        """End a part as a crash would."""
        self.processes.kill(name)

    def begin_again(self, name: str, **environment: str) -> None:
        """Start a part that was killed, with these variables besides, and wait until it is well."""
        part = self.parts[name]
        self._begin(Part(name, part.command, part.health, {**part.environment, **environment}))
        self.processes.wait_until(name, part.is_healthy, SECONDS_TO_START)

    def fault(self, participant: str, fault: str, path: str, **options: Any) -> None:
        """Script a fault of a participant for the calls to a path."""
        body = {"fault": fault, "match": {"path": path}, **options}
        answer = requests.post(f"{self._address(participant)}/_faults", json=body, timeout=10)
        assert answer.ok, answer.text

    def no_faults(self, participant: str) -> None:
        """Take the scripted faults of a participant back."""
        requests.delete(f"{self._address(participant)}/_faults", timeout=10).raise_for_status()

    def _address(self, participant: str) -> str:
        return f"http://127.0.0.1:{self.ports.of_participant(participant)}"


def _own(name: str, value: str) -> bool:
    """Whether it is the stack's: not what the tests' own environment says of databases and participants."""
    return os.environ.get(name) != value or not FOREIGN.fullmatch(name)


def free_row(length: int = len(dataclasses.fields(Ports))) -> int:
    """The first of so many free ports in a row, below those that the kernel gives to connections meanwhile."""
    while True:
        base = random.randrange(10_000, 32_768 - length)
        if all(is_free(base + offset) for offset in range(length)):
            return base
