"""The real orchestrator over real participants, each a process of its own, with DEBUG off and no gateway in between."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import requests

from tests.contract.participants_support import DEADLINE, ROOT, Participant, free_port, until

ORDERS = "/api/saga/commandes/"
CLIENT, BLOCKED = "12345678-1234-1234-1234-123456789012", "00000000-0000-4000-8000-00000000b10c"
SHOP, PRODUCT = "550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440001"
STOCK = f"/api/ddd/inventaire/stock-local/{PRODUCT}/{SHOP}/"
SECRETS = {
    "SECRET_KEY": "s3cret-of-django-0001",
    "KONG_API_KEY": "s3cret-of-the-gateway-0002",
    "GATEWAY_SHARED_SECRET": "s3cret-that-the-gateway-adds-0003",
}
OWN_KEY = "s3cret-of-the-desk-0004"
ADMIN_KEY = "s3cret-of-the-office-0005"
HEAD = ["EN_ATTENTE", "VERIFICATION_STOCK", "STOCK_VERIFIE", "RESERVATION_STOCK"]
CREATING = [*HEAD, "STOCK_RESERVE", "CREATION_COMMANDE"]
UNDOING = ["COMPENSATION_EN_COURS", "SAGA_ANNULEE"]


def order(*quantities: int, client: str = CLIENT) -> dict[str, Any]:
    lines = [{"produit_id": PRODUCT, "quantite": quantity} for quantity in quantities]
    return {"client_id": client, "magasin_id": SHOP, "lignes": lines}


def path_of(saga: dict[str, Any]) -> list[str]:
    states = [event["etat"] for event in saga["historique"]]
    return [state for state, before in zip(states, [None, *states], strict=False) if state != before]


class Service(Participant):
    """A participant that can be told to misbehave, and that can be away for a while."""

    def fault(self, fault: str, path: str, **options: Any) -> None:
        answer = self.call("POST", "/_faults", {"fault": fault, "match": {"path": path}, **options})
        assert answer.status_code in {200, 201}, answer.text

    @contextmanager
    def away(self) -> Iterator[None]:
        self.kill()
        try:
            yield
        finally:
            command = [sys.executable, "-m", "participants", self.name, "--port", str(self.port), "--faults"]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*command, "--database", self.database], cwd=ROOT, stdout=log, stderr=log
                )
            until(self._healthy, f"{self.name} is back")


class Stack:
    """Everything that an order needs."""

    def __init__(self, database_url: str, directory: Path, more: dict[str, str] | None = None) -> None:
        self.directory, self.database_url, self.more = directory, database_url, more or {}
        self.services: dict[str, Service] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.url = f"http://127.0.0.1:{free_port()}"

    def start(self) -> None:
        for name in ("catalogue", "inventaire", "commandes"):
            self.services[name] = Service(name, self.directory, "--faults")
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=self.environment(), check=True
        )
        server = ["-m", "gunicorn", "saga_service.wsgi:application", "--config", "saga_service/gunicorn_conf.py"]
        shared = {"PROMETHEUS_MULTIPROC_DIR": str(self.directory / "metrics")}
        self.run("orchestrator", *server, "--bind", self.url.removeprefix("http://"), **shared)
        self.run("worker", "manage.py", "saga_worker", "--poll", "0.1")
        until(self.is_ready, "the orchestrator is ready")

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(DEADLINE)
        for service in self.services.values():
            service.stop()

    def run(self, name: str, *arguments: str, **changes: str) -> None:
        environment = {**self.environment(), **changes}
        with (self.directory / f"{name}.log").open("wb") as log:
            command = [sys.executable, *arguments]
            self.processes.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )

    def environment(self) -> dict[str, str]:
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DB_", "DJANGO_", "DEBUG", "PROMETHEUS_", "OTEL_"))
        }
        return {
            **plain,
            **SECRETS,
            **{f"{name.upper()}_URL": service.url for name, service in self.services.items()},
            "DATABASE_URL": self.database_url,
            "KONG_GATEWAY_URL": self.services["catalogue"].url,
            "SAGA_API_KEYS": f"desk:saga-operator:{OWN_KEY},office:saga-admin:{ADMIN_KEY}",
            "ALLOWED_HOSTS": "127.0.0.1",
            "MAX_RETRIES": "1",
            "WEB_CONCURRENCY": "2",
            "LOG_LEVEL": "DEBUG",
            **self.more,
        }

    def is_ready(self) -> bool:
        assert all(process.poll() is None for process in self.processes), self.logs()
        with suppress(requests.ConnectionError):
            return self.get("/api/saga/health/").status_code == 200
        return False

    def get(self, path: str) -> requests.Response:
        return self.ask("GET", path)

    def order(self, body: Any, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", ORDERS, json=body, headers=named)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> requests.Response:
        headers = {"X-API-Key": OWN_KEY, **(headers or {})}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **more)

    def placed(self, answer: requests.Response, status: int) -> dict[str, Any]:
        """The order of this answer, which has this status and is what is stored."""
        assert answer.status_code == status, answer.text
        saga = answer.json()
        assert self.get(f"{ORDERS}{saga['saga_id']}/").json() == saga
        self.effects(saga)
        return saga

    def stock(self) -> int:
        return self.services["inventaire"].get(STOCK)["quantite_disponible"]

    def effects(self, saga: dict[str, Any]) -> Counter[tuple[str, str]]:
        """What was really done for this saga, as (step, operation): never twice under one key."""
        names = ("inventaire", "commandes")
        rows = [row for name in names for row in self.services[name].effects(saga["saga_id"])]
        assert max(Counter((key, operation) for key, operation, _ in rows).values(), default=1) == 1
        return Counter((key.split(":")[1].split("[")[0], operation) for key, operation, _ in rows)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def logs(self) -> str:
        return self.log("orchestrator") + self.log("worker")


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """A database beside the test server's others, dropped in the end."""
    name = f"orders_{uuid4().hex[:12]}"
    administration = psycopg2.connect(server)
    administration.autocommit = True
    try:
        with administration.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        yield f"{server.rpartition('/')[0]}/{name}"
        with administration.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        administration.close()


@contextmanager
def running_stack(server: str, directory: Path, more: dict[str, str] | None = None) -> Iterator[Stack]:
    with own_database(server) as url:
        stack = Stack(url, directory, more)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()
