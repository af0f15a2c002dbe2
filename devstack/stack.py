"""What `make run` consists of: each process, its port, its command, and the address that tells whether it is well."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devstack.processes import answers

ROOT = Path(__file__).resolve().parent.parent
LISTENERS = ("alianzas",)  # called by messages only: no route leads to them
PARTICIPANTS = (
    "integraciones",
    *("catalogue", "inventaire", "commandes", "orders", "payments"),
    *("betting", "wallet", "risk-management"),
    *("flights", "loyalty"),
)
DEVELOPMENT_KEY = "magasin-secret-key-2025"  # of the consumer `magasin` in kong/kong.yml

LAST_PORT = 65535


class PortError(Exception):
    """A port that there is not; the message says where it was asked for."""


@dataclass(frozen=True)
class Ports:
    """The published ports. Each is another one with a variable of its name: GATEWAY_PORT=8081."""

    api: int = 8009
    gateway: int = 8080
    gateway_status: int = 8100
    catalogue: int = 8001
    inventaire: int = 8002
    commandes: int = 8003
    worker_metrics: int = 9109
    postgres: int = 5439
    orders: int = 8007
    payments: int = 8008
    betting: int = 8004
    wallet: int = 8005
    risk_management: int = 8006
    flights: int = 8021
    loyalty: int = 8022
    integraciones: int = 8011
    alianzas: int = 8012
    broker: int = 6650

    def of_participant(self, name: str) -> int:
        port: int = getattr(self, name.replace("-", "_"))
        return port

    @classmethod
    def of(cls, environment: Mapping[str, str], base: int | None = None) -> "Ports":
        """From the environment; with a base, all of them in a row from there. Raises PortError."""
        names = [each.name for each in dataclasses.fields(cls)]
        if base is not None:
            if not 0 < base <= LAST_PORT + 1 - len(names):
                raise PortError(f"--base-port {base}: must be from 1 to {LAST_PORT + 1 - len(names)}")
            return cls(**{name: base + offset for offset, name in enumerate(names)})
        given = {name: environment.get(variable(name)) for name in names}
        return cls(**{name: _port(variable(name), value) for name, value in given.items() if value})


def _port(name: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= LAST_PORT:
        raise PortError(f"{name}={text}: must be a port from 1 to {LAST_PORT}")
    return int(text)


def variable(port_name: str) -> str:
    return f"{port_name.upper()}_PORT"


@dataclass(frozen=True)
class Part:
    """One process of the stack."""

    name: str
    command: list[str]
    health: str
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def is_healthy(self) -> bool:
        return answers(self.health)


@dataclass(frozen=True)
class Stack:
    """Where everything of one `make run` is."""

    ports: Ports
    data: Path

    @property
    def api(self) -> str:
        return f"http://localhost:{self.ports.api}"

    @property
    def gateway(self) -> str:
        return f"http://localhost:{self.ports.gateway}"

    @property
    def metrics(self) -> Path:
        return self.data / "metrics"

    def participants(self, broker: Mapping[str, str]) -> list[Part]:
        names = (*PARTICIPANTS, *LISTENERS)
        return [self._participant(name, self.ports.of_participant(name), broker) for name in names]

    def development_gateway(self) -> Part:
        command = [sys.executable, "-m", "devstack.gateway", "--config", str(ROOT / "kong" / "kong.yml")]
        command += ["--listen", f"127.0.0.1:{self.ports.gateway}"]
        command += ["--status-listen", f"127.0.0.1:{self.ports.gateway_status}"]
        command += ["--run-dir", str(self.data / "gateway")]
        for name in PARTICIPANTS:
            command += ["--resolve", f"{name}:8000=127.0.0.1:{self.ports.of_participant(name)}"]
        command += ["--resolve", f"orchestrator:8009=127.0.0.1:{self.ports.api}"]
        return Part("gateway", command, f"http://127.0.0.1:{self.ports.gateway_status}/status/ready")

    def orchestrator(self, database: Mapping[str, str]) -> Part:
        """As in production: gunicorn with the project's own configuration."""
        command = [sys.executable, "-m", "gunicorn", "saga_service.wsgi:application"]
        command += ["--config", str(ROOT / "saga_service" / "gunicorn_conf.py")]
        command += ["--bind", f"127.0.0.1:{self.ports.api}"]
        environment = {**self.settings(database), "PROMETHEUS_MULTIPROC_DIR": str(self.metrics)}
        return Part("orchestrator", command, f"http://127.0.0.1:{self.ports.api}/health", environment)

    def worker(self, database: Mapping[str, str]) -> Part:
        port = self.ports.worker_metrics
        command = [sys.executable, "manage.py", "saga_worker", "--metrics-port", str(port)]
        return Part("worker", command, f"http://127.0.0.1:{port}/metrics", self.settings(database))

    def readiness(self) -> Part:
        """The orchestrator once more: whether it has all that sagas need, the worker's first report included."""
        return Part("orchestrator", [], f"http://127.0.0.1:{self.ports.api}/api/saga/health/")

    def settings(self, database: Mapping[str, str]) -> dict[str, str]:
        """The orchestrator's environment: development defaults, which the caller's own environment may replace."""
        return {
            "DEBUG": "True",
            "KONG_API_KEY": DEVELOPMENT_KEY,
            "SAGA_FAULT_INJECTION": "True",
            **os.environ,
            **database,
            "KONG_GATEWAY_URL": f"http://127.0.0.1:{self.ports.gateway}",
            "PYTHONUNBUFFERED": "1",
        }

    def _participant(self, name: str, port: int, broker: Mapping[str, str]) -> Part:
        command = [sys.executable, "-m", "participants", name, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--database", str(self.data / f"{name}.sqlite3")]
        return Part(name, command, f"http://127.0.0.1:{port}/health", {**os.environ, **broker})
