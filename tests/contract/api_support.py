"""The whole service but its participants: a client of the API, the real database, and participants that are told what
to answer."""

import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any

import jsonschema_rs
import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.urls import Resolver404, resolve

from application.operations import Operations
from domain.calls import Task
from domain.outcomes import CallFacts, Outcome, Reply, Succeeded
from infrastructure import metrics
from infrastructure.database_numbers import numbers
from infrastructure.models import SagaEventRow, SagaRow
from interfaces import contracts
from saga_service import bootstrap

ORDERS, START = "/api/saga/commandes/", "/api/sagas/start/"
CLIENT, SHOP = "12345678-1234-1234-1234-123456789012", "550e8400-e29b-41d4-a716-446655440000"
PRODUCT = "550e8400-e29b-41d4-a716-446655440001"
ORDER = {"client_id": CLIENT, "magasin_id": SHOP, "lignes": [{"produit_id": PRODUCT, "quantite": 2}]}
UNKNOWN_ID = "0192f0c1-2a3b-7c4d-8e5f-000000000001"

DONE: dict[str, Any] = {
    "verification_stock": {"produit_id": PRODUCT, "magasin_id": SHOP, "quantite_disponible": 500},
    "information_produit": {"id": PRODUCT, "nom": "Café en grains 1 kg", "prix": 14.9},
    "reservation_stock": {"reservation_id": "r-1"},
    "creation_commande": {"commande_id": "c-1"},
}
BOOKED: dict[str, Any] = {
    "RESERVE_SEAT": {"seat_id": "s-1"},
    "DEDUCT_LOYALTY_POINTS": {"points_deducted": 1000, "discount": 10.0},
    "PROCESS_PAYMENT": {"transaction_id": "t-1"},
    "CONFIRM_BOOKING": {"booking_reference": "A1B2C3D4"},
}

CASHED_OUT: dict[str, Any] = {
    "cashout_validation": {"eligible": True},
    "live_odds_fetch": {"odds": 1.5},
    "cashout_quote": {"quote_id": "q-1", "amount": 126.66},
    "wallet_credit": {"transaction_id": "t-1"},
    "liability_update": {"liability_id": "l-1"},
    "cashout_completion": {"status": "CASHED_OUT"},
}


class Scripted:
    """Participants that do everything asked, except where `answers[step]` says otherwise: an outcome, or what makes one
    of the task."""

    def __init__(self) -> None:
        self.answers: dict[str, Outcome | Callable[[Task], Outcome]] = {}
        self.calls: list[Task] = []

    def call(self, task: Task) -> Reply:
        self.calls.append(task)
        outcome = self.answers.get(f"{task.step}:{task.attempt.action}", self.answers.get(task.step))
        if callable(outcome):
            outcome = outcome(task)
        if outcome is None or (task.attempt.action == "undo" and f"{task.step}:undo" not in self.answers):
            outcome = Succeeded({**CASHED_OUT, **BOOKED, **DONE}.get(task.step))
        return Reply(outcome, CallFacts(task.service, task.method, 200, 0.01))

    def call_all(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Reply]]:
        for task in tasks:
            yield task, self.call(task)


class MovedClock:
    """Real time, and whatever was slept or moved."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Api:
    """A client that holds every answer to what is true of all of them."""

    def __init__(self, participants: Scripted, clock: MovedClock) -> None:
        self.participants, self.clock = participants, clock
        self.http = Client(raise_request_exception=False)

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Any:
        """An answer; `headers` with underscores for dashes."""
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        kind = headers.pop("Content_Type", "application/json" if content else "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.http.generic(method, path, content, content_type=kind, headers=named)
        assert answer.headers["X-Correlation-ID"], "every answer carries one"
        if answer.status_code >= 400 and answer.content and answer.headers["Content-Type"] != "application/json":
            problem(answer)
        assert answer.status_code in documented_statuses(method, path), "what a route can answer is documented"
        return answer

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.call("POST", path, body, **more)

    def order(self, body: Any = None, **headers: str) -> Any:
        return self.post(ORDERS, ORDER if body is None else body, **headers)


def route_of(path: str) -> str | None:
    """The route that an address belongs to, as the documentation writes it."""
    try:
        return "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", resolve(path.partition("?")[0]).route)
    except Resolver404:
        return None


@cache
def documented() -> Any:
    """The raw schema, as it is published."""
    with override_settings(SAGA_ORCHESTRATOR_CONFIG={**settings.SAGA_ORCHESTRATOR_CONFIG, "DEBUG": True}):
        return Client().get("/swagger.json").json()


def documented_statuses(method: str, path: str) -> set[int]:
    """What the documentation says that this call may be answered with; without a route it is 404, or the way to one."""
    route = route_of(path)
    if route is None:
        return {301, 404}
    operations = documented()["paths"].get(route)
    if operations is None:  # the documentation's own pages
        return {200, 400, 401, 403, 405, 406}
    operation = operations.get("get" if method == "HEAD" else method.lower())
    return {200, 401, 403, 405} if operation is None else {int(status) for status in operation["responses"]}


def shaped(answer: Any, schema: contracts.Schema, status: int = 200) -> Any:
    """The answer's body, which has this status and this published shape."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/json"
    return fits(answer.json(), schema)


def fits(value: Any, schema: contracts.Schema) -> Any:
    faults = [
        f"{error.instance_path}: {error.message}"
        for error in jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(value)
    ]
    assert not faults, faults
    return value


def problem(answer: Any, status: int | None = None, code: str | None = None) -> Any:
    """The answer's body, which is a problem of this status and code."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content
    body = fits(answer.json(), contracts.PROBLEM)
    assert body["status"] == answer.status_code
    assert status in {None, answer.status_code}, body
    assert code in {None, body["code"]}, body
    return body


def stored() -> Counter[str]:
    """How much there is of what a start could leave behind."""
    return Counter(sagas=SagaRow.objects.count(), events=SagaEventRow.objects.count())


with warnings.catch_warnings():
    # drf-yasg loads a validator of schemas, where it is installed, that uses what jsonschema deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    import_module("drf_yasg.codecs")


@pytest.fixture
def api(db: None, monkeypatch: pytest.MonkeyPatch) -> Api:
    for known in (bootstrap.definitions()._loaded, bootstrap.definitions()._schemas):
        known.clear()  # an earlier test may have stored another workflow under the same version
    bootstrap.start()
    participants, clock = Scripted(), MovedClock()
    engine = replace(
        bootstrap.engine(), participants=participants, clock=clock, max_retries=1, saga_timeout=10.0, broker=True
    )
    built = replace(bootstrap.platform(), engine=engine, operations=Operations(engine))
    monkeypatch.setattr(bootstrap, "platform", lambda: built)
    # The test's data is in this thread's transaction.
    monkeypatch.setattr(metrics._reader, "read", lambda: numbers(datetime.now(UTC)))
    return Api(participants, clock)
