"""A mixed load through the gateway: every workflow, done, refused, turned back, parked, and over the broker."""

import itertools
import threading
from typing import Any, Self
from uuid import uuid4

from tests.support.example_inputs import EXAMPLE_INPUTS, SHOP
from tests.support.system import System

BAGS = "550e8400-e29b-41d4-a716-446655440006"
"""The product that there is enough of."""
ORDER = {**EXAMPLE_INPUTS["commandes"], "lignes": [{"produit_id": BAGS, "quantite": 1}]}
FOOD, FLIGHT = EXAMPLE_INPUTS["order_processing"], EXAMPLE_INPUTS["flight_booking"]
PARTNER = {"nombre": "Socios", "email": "hola@socios.example", "telefono": "+57 601 555 0101", "direccion": "Calle 93"}
FIRST_SLIP, ITS_USER = 10_001, 458
"""Each of five thousand bet slips can be cashed out once."""
SECONDS_BETWEEN = 0.15

_slips = itertools.count(FIRST_SLIP)


def start(system: System, workflow: str, input_: dict[str, Any], mark: str = "", *, wait: int | None = 5) -> int:
    """Start a saga through the gateway; the answer's status. Without `wait` a worker drives it."""
    preference = "respond-async" if wait is None else f"wait={wait}"
    headers = {"X-Correlation-ID": f"{uuid4()}{mark}", "Prefer": preference}
    body = {"workflow": workflow, "input": input_}
    return system.session.post(
        f"{system.stack.gateway}/api/sagas/start/", json=body, headers=headers, timeout=30
    ).status_code


def cash_out(system: System) -> int:
    slip = {"bet_slip_id": next(_slips), "user_id": ITS_USER, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"}
    return start(system, "cashout_flow", slip)


def create_partner(system: System) -> int:
    distinct = {**PARTNER, "email": f"{uuid4()}@socios.example"}
    path = f"{system.stack.gateway}/api/v1/saga/partner-creation"
    return system.session.post(path, json=distinct, timeout=30).status_code


def park(system: System, sagas: int) -> None:
    """Orders and bookings whose undo is refused."""
    system.fault("inventaire", "fail", "/liberations/", status=409, times=sagas)
    system.fault("payments", "fail", "/api/payments/refund/", status=409, times=sagas)
    for _ in range(sagas):
        start(system, "commandes", ORDER, ":fail=creation_commande")
        start(system, "flight_booking", FLIGHT, ":fail=CONFIRM_BOOKING")


def everything_once(system: System) -> None:
    """Each kind of end for each kind of saga, so that no metric is without a sample."""
    for outcome in ("", "=unavailable", "=unknown"):
        start(system, "commandes", ORDER, f":fail=creation_commande{outcome}", wait=None)
        start(system, "flight_booking", FLIGHT, f":fail=PROCESS_PAYMENT{outcome}", wait=None)
        start(system, "order_processing", FOOD, f":fail=confirm_order{outcome}", wait=None)
    start(system, "commandes", {**ORDER, "lignes": [{"produit_id": BAGS, "quantite": 99_000_000}]})
    start(system, "commandes", {"magasin_id": SHOP})
    start(system, "flight_booking", FLIGHT)
    cash_out(system)
    create_partner(system)
    park(system, 2)
    system.session.get(f"{system.stack.gateway}/api/sagas/statistics/", timeout=10)
    system.session.get(f"{system.stack.gateway}/api/nowhere", timeout=10)
    system.session.get(f"{system.stack.gateway}/api/catalogue/x", headers={"X-API-Key": "visiteur-dev-key"}, timeout=10)


class SteadyLoad:
    """A little of everything, an order that is undone too, until it is stopped: rates need something that goes on."""

    def __init__(self, system: System) -> None:
        self._system, self._stopped = system, threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        kinds = itertools.cycle(
            [
                lambda: start(self._system, "commandes", ORDER),
                lambda: start(self._system, "order_processing", FOOD, wait=None),
                lambda: cash_out(self._system),
                lambda: start(self._system, "commandes", ORDER, ":fail=creation_commande"),
                lambda: start(self._system, "commandes", ORDER, wait=None),
                lambda: create_partner(self._system),
                lambda: start(self._system, "order_processing", FOOD),
            ]
        )
        while not self._stopped.wait(SECONDS_BETWEEN):
            try:
                next(kinds)()
            except OSError:
                continue  # what answers is among what the tests take away
