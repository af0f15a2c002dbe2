"""The product that the browser looks at: the real stack, and sagas of every kind in it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import requests
from playwright.sync_api import Page

from devstack.processes import free_port
from devstack.stack import ROOT, Part
from saga_service.configuration import EXAMPLE_GATEWAY_SECRET
from tests.support import load
from tests.support.system import FOREIGN, System
from tests.support.waiting import until

GUARDED = {
    "DEBUG": "False",
    "SECRET_KEY": "s3cret-of-django-0001",
    "KONG_API_KEY": "s3cret-of-the-gateway-0002",
    "GATEWAY_SHARED_SECRET": "s3cret-that-the-gateway-adds-0003",
    "ALLOWED_HOSTS": "localhost",
    "SAGA_FAULT_INJECTION": "False",
    "WEB_CONCURRENCY": "2",
}
ACTS = ("retry", "skip", "compensate", "resolve", "pause")
APPROVAL = {
    "name": "approval",
    "version": 1,
    "title": "A payout that somebody has to approve",
    "deadline": 86400,
    "input_schema": {"type": "object"},
    "initial_state": "asked",
    "completed_state": "paid",
    "compensating_state": "withdrawing",
    "compensated_state": "withdrawn",
    "failed_state": "refused",
    "steps": [
        {"name": "approve", "safe": True, "awaits": {"types": ["approved", "refused"], "timeout": 86400}},
        {"name": "look", "safe": True, "action": {"service": "wallet", "method": "GET", "path": "/health"}},
    ],
}
"""A saga of it waits for a message that nobody sends by itself."""
UNDO = ("inventaire", "fail", "/liberations/")
"""The undo of an order's reservation: participant, fault, path."""


class Console(System):
    """The stack, with the words of this directory's tests."""

    def order(self, mark: str = "", *, wait: int = 0, **changes: Any) -> dict[str, Any]:
        """A new order as the API shows it; `mark` is what is to happen to it."""
        headers = {
            "Prefer": f"wait={wait}" if wait else "respond-async",
            "X-Correlation-ID": f"{os.urandom(8).hex()}{mark}",
        }
        body = {"workflow": "commandes", "input": {**load.ORDER, **changes}}
        answer = requests.post(f"{self.stack.api}/api/sagas/start/", json=body, headers=headers, timeout=60)
        assert answer.status_code < 500 or mark, answer.text
        return answer.json()

    def saga(self, saga_id: str) -> dict[str, Any]:
        return requests.get(f"{self.stack.api}/api/sagas/transactions/{saga_id}/", timeout=30).json()

    def events(self, saga_id: str) -> list[dict[str, Any]]:
        path = f"/api/sagas/transactions/{saga_id}/events/?limit=200"
        return requests.get(self.stack.api + path, timeout=30).json()["results"]

    def reaches(self, saga_id: str, status: str) -> dict[str, Any]:
        """The saga, once it has come to this status."""
        return until(lambda: (found := self.saga(saga_id))["status"] == status and found, lambda: self.saga(saga_id))

    @contextmanager
    def undo_refused(self) -> Iterator[None]:
        """The stock refuses to take reservations back."""
        self.fault(*UNDO, status=409)
        try:
            yield
        finally:
            self.no_faults(UNDO[0])

    def parked(self, sagas: int = 1) -> list[str]:
        """The ids of orders whose undo was refused; it would be taken by now."""
        with self.undo_refused():
            ids = [self.order(":fail=creation_commande")["id"] for _ in range(sagas)]
            for saga_id in ids:
                self.reaches(saga_id, "STUCK")
        return ids

    @contextmanager
    def guarded(self) -> Iterator[str]:
        """A second orchestrator over the same database, with DEBUG off: its address."""
        port = free_port()
        known = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
        environment = {**known, **GUARDED, **self.needed, "KONG_GATEWAY_URL": self.stack.gateway}
        self._make_users(environment)
        command = [sys.executable, "-m", "gunicorn", "saga_service.wsgi:application", "--bind", f"127.0.0.1:{port}"]
        part = Part("guarded", command, f"http://127.0.0.1:{port}/health", environment)
        self.processes.start(part.name, part.command, part.environment)
        try:
            self.processes.wait_until(part.name, part.is_healthy, 60)
            yield f"http://localhost:{port}"
        finally:
            self.kill(part.name)

    def _make_users(self, environment: dict[str, str]) -> None:
        """`rita` reads, `otto` operates; each one's password is the name, twice."""
        script = """
from django.contrib.auth.models import Group, User
for name, role in (("rita", "saga-reader"), ("otto", "saga-operator")):
    user = User.objects.filter(username=name).first() or User.objects.create_user(name, password=name * 2)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
"""
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", script]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


Way = str | Callable[[Page], None]
"""How one comes to a page: its address, or what is done to see it."""


def show(page: Page, way: Way) -> None:
    """Go there, whatever the page's language."""
    if callable(way):
        way(page)
    else:
        page.goto(way)


def addresses(console: Console) -> dict[str, Way]:
    """A page of every kind, by the name of its picture, and the sagas that they are of."""
    done = console.order(wait=25)["id"]
    undone = console.order(":fail=creation_commande", wait=25)["id"]
    stuck = console.parked(3)[0]
    group, bulk = _remedied_in_vain(console)
    waiting, paused = _to_be_approved(console), _to_be_approved(console)
    requests.post(f"{console.stack.api}/api/sagas/transactions/{paused}/pause/", json={"reason": "a look"}, timeout=30)
    return {
        "sagas": "/console/",
        "sagas-none": "/console/?q=nothing",
        "saga-done": f"/console/sagas/{done}/",
        "saga-undone": f"/console/sagas/{undone}/",
        "saga-parked": f"/console/sagas/{stuck}/",
        **{f"act-{verb}": f"/console/sagas/{stuck}/{verb}/" for verb in ACTS},
        "act-resume": f"/console/sagas/{paused}/resume/",
        "act-signal": f"/console/sagas/{waiting}/signal/?type=approved",
        "act-changed": partial(_choose_otherwise, address=f"/console/sagas/{stuck}/resolve/?outcome=completed"),
        "trouble": "/console/trouble/",
        "remedy": f"/console/trouble/{group}/retry/",
        "bulk": f"/console/bulk/{bulk}/",
        "workflows": "/console/workflows/",
        "workflow": "/console/workflows/commandes/",
        "start": "/console/workflows/commandes/start/",
        "start-faults": _start_with_faults,
        "forbidden": partial(_as_a_reader, address=f"/console/sagas/{stuck}/retry/"),
        "statistics": "/console/statistics/",
        "login": "/console/login/",
        "not-found": "/console/workflows/nowhere/",
        "test": "/saga/test",
    }


def _to_be_approved(console: Console) -> str:
    """The id of a saga that waits for a message."""
    api = f"{console.stack.api}/api/sagas"
    requests.post(f"{api}/definitions/", json=APPROVAL, timeout=30).raise_for_status()
    started = {"workflow": "approval", "input": {}}
    saga_id = requests.post(f"{api}/start/", json=started, headers={"Prefer": "wait=0"}, timeout=30).json()["id"]
    console.reaches(saga_id, "WAITING")
    return saga_id


def _start_with_faults(page: Page) -> None:
    page.goto("/console/workflows/commandes/start/")
    page.evaluate("for (const form of document.forms) form.noValidate = true")
    page.get_by_label("quantite").first.fill("0")
    page.get_by_label("client_id").first.fill("somebody")
    page.locator("form.start button.primary").click()
    page.locator("main [role=alert]:visible").first.wait_for()


def _choose_otherwise(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("input[name=outcome]:not(:checked)").check()
    page.locator("#reason").fill("paid back by hand")
    page.locator("form button.danger").click()
    page.locator(".banner.warning[role=alert]").wait_for()


def _as_a_reader(page: Page, address: str) -> None:
    """As somebody whom the gateway lets read alone."""
    reader = {"X-Consumer-Username": "rita", "X-Consumer-Groups": "saga-reader"}
    page.set_extra_http_headers({**reader, "X-Gateway-Secret": EXAMPLE_GATEWAY_SECRET})
    page.goto(address)
    page.set_extra_http_headers({})
    page.locator("main [role=alert]").filter(has_text="saga-operator").wait_for()


def _remedied_in_vain(console: Console) -> tuple[str, str]:
    """The id of a group of bookings whose refund is refused, and of the remedy that was tried."""
    api = f"{console.stack.api}/api/sagas"
    console.fault("payments", "fail", "/api/payments/refund/", status=409)
    for _ in range(2):
        load.start(console, "flight_booking", load.FLIGHT, ":fail=CONFIRM_BOOKING", wait=25)
    groups = requests.get(f"{api}/failures/", timeout=30).json()["results"]
    group = next(each["id"] for each in groups if each["workflow"] == "flight_booking")
    asked = {"reason": "ticket 12: the refunds", "per_second": 100}
    bulk = requests.post(f"{api}/failures/{group}/retry/", json=asked, timeout=30).json()["id"]
    until(lambda: requests.get(f"{api}/bulk/{bulk}/", timeout=30).json()["finished_at"], "the remedy has ended")
    console.no_faults("payments")
    return group, bulk
