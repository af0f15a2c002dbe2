"""End to end, against a running stack, whatever runs it: `make run` or `docker compose up -d`.

`.venv/bin/python test_saga_integration.py --api http://localhost:8009 --gateway http://localhost:8080` goes through
what a shop and its operator rely on, says line by line what it saw, and ends with status 0 only if all of it was right.
It takes a few units of the example product from the stock; everything else it leaves as it found it. Others may order
meanwhile: it looks at what was done for its own sagas.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

try:
    import requests
except ImportError:
    sys.exit("This needs `requests`: run it with .venv/bin/python, which `make venv` makes, or `pip install requests`.")

ORDERS = "/api/saga/commandes/"
CLIENT = "12345678-1234-1234-1234-123456789012"
BLOCKED_CLIENT = "00000000-0000-4000-8000-00000000b10c"  # the order service refuses it, after the stock is reserved
SHOP = "550e8400-e29b-41d4-a716-446655440000"
PRODUCT = "550e8400-e29b-41d4-a716-446655440001"
STOCK = f"/api/inventaire/api/ddd/inventaire/stock-local/{PRODUCT}/{SHOP}/"
LEDGER = "/api/inventaire/_ledger"
PARTICIPANTS = ("inventaire", "catalogue", "commandes", "betting", "wallet", "risk-management")
CASHOUTS = "/api/sagas/cashout/"
BET_SLIPS, BETTOR = range(10_001, 15_001), 458
HELD_SLIP, ITS_BETTOR = 128, 456  # the betting service refuses it, after the wallet is credited
LEAST_STOCK = 12  # what one run takes, and some more
LARGEST = 10_000  # quantity of a line

CHECKED = ["EN_ATTENTE", "VERIFICATION_STOCK", "STOCK_VERIFIE", "RESERVATION_STOCK"]
CREATED = [*CHECKED, "STOCK_RESERVE", "CREATION_COMMANDE"]
UNDONE = ["COMPENSATION_EN_COURS", "SAGA_ANNULEE"]

METRICS = {
    "saga_total": "counter",
    "saga_duree_seconds": "histogram",
    "saga_echecs_total": "counter",
    "saga_etapes_total": "counter",
    "saga_compensations_total": "counter",
    "saga_actives_current": "gauge",
    "services_externes_calls_total": "counter",
    "services_externes_duree_seconds": "histogram",
}


class WrongError(Exception):
    """The stack did something else than what its users rely on."""


class Stack:
    """The running stack, as its clients see it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.api, self.gateway = options.api.rstrip("/"), options.gateway.rstrip("/")
        self.key, self.visitor_key = options.key, options.visitor_key
        self.http = requests.Session()
        self.http.trust_env = False  # a proxy of the environment has no business with a stack on this machine

    def get(self, path: str) -> requests.Response:
        return self.http.get(self.api + path, timeout=30)

    def through_gateway(self, method: str, path: str, key: str | None, **more: Any) -> requests.Response:
        headers = {} if key is None else {"X-API-Key": key}
        return self.http.request(method, self.gateway + path, headers=headers, timeout=60, **more)

    def order(self, quantities: list[int], client: str = CLIENT, **headers: str) -> requests.Response:
        return self.http.post(self.api + ORDERS, json=order(quantities, client), headers=headers, timeout=60)

    def stock(self) -> int:
        answer = self.through_gateway("GET", STOCK, self.key)
        see(answer.status_code == 200, f"the stock can be read through the gateway: {answer.status_code}")
        return int(answer.json()["quantite_disponible"])

    def taken(self, saga_id: str) -> int:
        """Units of the stock that were taken for this saga, and not given back."""
        answer = self.through_gateway("GET", f"{LEDGER}?saga_id={saga_id}", self.key)
        see(answer.status_code == 200, f"what was done for it can be read through the gateway: {answer.status_code}")
        signs = {"do": 1, "undo": -1}
        return sum(signs[effect["operation"]] * int(effect["quantity"]) for effect in answer.json()["effects"])


def order(quantities: list[int], client: str = CLIENT) -> dict[str, Any]:
    lines = [{"produit_id": PRODUCT, "quantite": quantity} for quantity in quantities]
    return {"client_id": client, "magasin_id": SHOP, "lignes": lines}


def see(right: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence where it is used
    """Say what was seen; stop the check when it is wrong."""
    print(f"  {'ok   ' if right else 'WRONG'} {what}")
    if not right:
        raise WrongError(what)


def see_saga(stack: Stack, answer: requests.Response, status: int, path: list[str]) -> dict[str, Any]:
    """The answer has the status, and the saga that it names went through these states, as its own page says too."""
    see(answer.status_code == status, f"answered {answer.status_code}" + _reason(answer, status))
    saga: dict[str, Any] = stack.get(f"{ORDERS}{answer.json()['saga_id']}/").json()
    see(saga == answer.json(), f"saga {saga['saga_id']} reads the same at its own address")
    states = [event["etat"] for event in saga["historique"]]
    taken = [state for state, previous in zip(states, [None, *states], strict=False) if state != previous]
    see(taken == path, " > ".join(taken))
    see(saga["etat"] == path[-1] and saga["termine_le"] is not None, f"it is finished: {saga['etat']}")
    times = [event["horodatage"] for event in saga["historique"]]
    see(times == sorted(times) and all(event["type"] for event in saga["historique"]), f"{len(times)} events in order")
    return saga


def _reason(answer: requests.Response, status: int) -> str:
    return "" if answer.status_code == status else f" instead of {status}: {answer.text[:500]}"


def see_taken(stack: Stack, saga: dict[str, Any], expected: int) -> None:
    found = stack.taken(saga["saga_id"])
    see(found == expected, f"it took {found} of the stock" + ("" if found == expected else f" instead of {expected}"))


def health_of_every_service(stack: Stack) -> None:
    for path in ("/health", "/api/health/", "/api/saga/health/"):
        answer = stack.get(path)
        see(answer.status_code == 200, f"orchestrator {path}: {answer.status_code} {answer.text.strip()[:200]}")
    for name in PARTICIPANTS:
        answer = stack.through_gateway("GET", f"/api/{name}/health", stack.key)
        see(answer.status_code == 200, f"{name} through the gateway: {answer.status_code}")


def an_order_that_succeeds(stack: Stack) -> None:
    before = stack.stock()
    see(before >= LEAST_STOCK, f"the stock is {before}; it takes {LEAST_STOCK} (`make clean` starts with a full one)")
    saga = see_saga(stack, stack.order([2]), 201, [*CREATED, "COMMANDE_CREEE", "SAGA_TERMINEE"])
    line = saga["lignes"][0]
    named = line["produit_id"] == PRODUCT and line["quantite"] == 2 and line["nom"] and float(line["prix_unitaire"]) > 0
    see(bool(named), f"{line['quantite']} x {line['nom']} at {line['prix_unitaire']}, from the catalogue")
    see(bool(saga["commande_id"]) and saga["erreur"] is None, f"order {saga['commande_id']} exists")
    see((saga["client_id"], saga["magasin_id"]) == (CLIENT, SHOP), "it is this client's, in this shop")
    see_taken(stack, saga, 2)


def an_order_of_more_than_there_is(stack: Stack) -> None:
    path = ["EN_ATTENTE", "VERIFICATION_STOCK", "ECHEC_STOCK_INSUFFISANT", "SAGA_ANNULEE"]
    saga = see_saga(stack, stack.order([LARGEST]), 409, path)
    see(bool(saga["erreur"]), f"the reason: {saga['erreur']}")
    see_taken(stack, saga, 0)


def an_order_refused_at_the_reservation(stack: Stack) -> None:
    """Each line alone passes the stock check; both together are more than there is, also if others order now."""
    most = stack.stock() * 2 // 3
    saga = see_saga(stack, stack.order([most, most]), 409, [*CHECKED, "ECHEC_RESERVATION_STOCK", *UNDONE])
    see(bool(saga["erreur"]) and saga["commande_id"] is None, f"no order; the reason: {saga['erreur']}")
    see_taken(stack, saga, 0)


def an_order_refused_at_the_last_step(stack: Stack) -> None:
    saga = see_saga(stack, stack.order([3], BLOCKED_CLIENT), 409, [*CREATED, "ECHEC_CREATION_COMMANDE", *UNDONE])
    see(bool(saga["erreur"]) and saga["commande_id"] is None, f"no order; the reason: {saga['erreur']}")
    see_taken(stack, saga, 0)


def a_request_that_makes_no_sense(stack: Stack) -> None:
    mine = str(uuid4())
    wrong = {"client_id": "nobody", "magasin_id": SHOP, "lignes": [{"produit_id": PRODUCT, "quantite": 0}]}
    answer = stack.http.post(stack.api + ORDERS, json=wrong, headers={"X-Correlation-ID": mine}, timeout=30)
    see(answer.status_code == 400, f"answered {answer.status_code}{_reason(answer, 400)}")
    problem = answer.json()
    named = " ".join(problem.get("errors", {}))
    see("client_id" in named and "quantite" in named, f"the fields are named: {problem.get('errors')}")
    stored = stack.get(f"/api/sagas/transactions/?correlation_id={mine}").json()["results"]
    see(stored == [], f"nothing was stored: {stored}")


def a_request_sent_twice(stack: Stack) -> None:
    key = str(uuid4())
    first, second = (stack.order([1], **{"Idempotency-Key": key}) for _ in range(2))
    see(first.status_code == 201, f"first: {first.status_code}{_reason(first, 201)}")
    same = second.status_code == 201 and second.json()["saga_id"] == first.json()["saga_id"]
    see(same, f"again: {second.status_code}, the same saga {second.json().get('saga_id')}")
    see_taken(stack, first.json(), 1)
    other = stack.order([2], **{"Idempotency-Key": key})
    see(other.status_code == 422, f"the same key for another order: {other.status_code}{_reason(other, 422)}")


def metrics_that_count(stack: Stack) -> None:
    before = _metrics(stack)
    for name, kind in METRICS.items():
        see(f"# TYPE {name} {kind}\n" in before, f"{name} is published, a {kind}")
    refused = stack.order([3], BLOCKED_CLIENT)
    see(refused.status_code == 409, f"one order more, refused: {refused.status_code}{_reason(refused, 409)}")
    after = _metrics(stack)
    for name in ("saga_total", "saga_echecs_total", "saga_compensations_total", "saga_duree_seconds_count"):
        was, became = _count(before, name), _count(after, name)
        see(became > was, f"{name} rose from {was:g} to {became:g}")


def _metrics(stack: Stack) -> str:
    answer = stack.get("/metrics/")
    see(answer.status_code == 200, f"/metrics/ answered {answer.status_code}")
    return answer.text


def _count(metrics: str, name: str) -> float:
    """The sum over the order saga's samples of this name."""
    samples = [line for line in metrics.splitlines() if line.startswith(f"{name}{{") and 'workflow="commandes"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in samples)


def access_through_the_gateway(stack: Stack) -> None:
    placed = stack.through_gateway("POST", ORDERS, stack.key, json=order([1]))
    see(placed.status_code == 201, f"an order with the key: {placed.status_code}{_reason(placed, 201)}")
    read = stack.through_gateway("GET", f"{ORDERS}{placed.json()['saga_id']}/", stack.key)
    see(read.status_code == 200, f"reading it with the key: {read.status_code}")
    without = stack.through_gateway("POST", ORDERS, None, json=order([1]))
    see(without.status_code == 401, f"without a key: {without.status_code}")
    visitor = stack.through_gateway("POST", ORDERS, stack.visitor_key, json=order([1]))
    see(visitor.status_code == 403, f"with the key of somebody without rights: {visitor.status_code}")


def cash_out(stack: Stack, slip: int, bettor: int) -> requests.Response:
    given = {"bet_slip_id": slip, "user_id": bettor, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"}
    return stack.through_gateway("POST", f"{CASHOUTS}start/", stack.key, json=given)


def see_steps(saga: dict[str, Any], *statuses: str) -> None:
    found = [step["status"] for step in saga["steps"]]
    see(found == list(statuses), f"its steps are {', '.join(found)}")


def a_cash_out_and_its_rollback(stack: Stack) -> None:
    started = cash_out(stack, random.choice(BET_SLIPS), BETTOR)
    see(started.status_code == 201, f"answered {started.status_code}{_reason(started, 201)}")
    see_steps(started.json(), *["COMPLETED"] * 6)
    asked = {"saga_transaction_id": started.json()["saga_transaction_id"], "reason": "checked from end to end"}
    undone = stack.through_gateway("POST", f"{CASHOUTS}rollback/", stack.key, json=asked)
    see(undone.status_code == 200, f"rolled back: {undone.status_code}{_reason(undone, 200)}")
    see_steps(undone.json(), *["COMPLETED"] * 3, *["COMPENSATED"] * 3)


def a_cash_out_refused_at_the_last_step(stack: Stack) -> None:
    refused = cash_out(stack, HELD_SLIP, ITS_BETTOR)
    see(refused.status_code == 409, f"answered {refused.status_code}{_reason(refused, 409)}")
    see_steps(refused.json(), *["COMPLETED"] * 3, *["COMPENSATED"] * 2, "FAILED")


CHECKS: tuple[Callable[[Stack], None], ...] = (
    health_of_every_service,
    an_order_that_succeeds,
    an_order_of_more_than_there_is,
    an_order_refused_at_the_reservation,
    an_order_refused_at_the_last_step,
    a_request_that_makes_no_sense,
    a_request_sent_twice,
    metrics_that_count,
    access_through_the_gateway,
    a_cash_out_and_its_rollback,
    a_cash_out_refused_at_the_last_step,
)


def run(check: Callable[[Stack], None], stack: Stack) -> bool:
    print(f"\n{check.__name__.replace('_', ' ')}")
    try:
        check(stack)
    except WrongError:
        return False
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        print(f"  WRONG {type(error).__name__}: {error}")
        return False
    return True


def unreachable(stack: Stack) -> str | None:
    """What does not answer at all, in words that help."""
    for name, url in (("orchestrator", stack.api), ("gateway", stack.gateway)):
        try:
            stack.http.get(f"{url}/health", timeout=10)
        except requests.RequestException as error:
            return (
                f"Nothing answers at {url}, where the {name} should be ({type(error).__name__}).\n"
                "Start the product with `make run` or `docker compose up -d`, or say where it is: --api, --gateway."
            )
    return None


def options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check a running stack from end to end.")
    for name, default, meaning in (
        ("api", "http://localhost:8009", "the orchestrator"),
        ("gateway", "http://localhost:8080", "the API gateway"),
        ("key", "magasin-secret-key-2025", "a shop's key at the gateway"),
        ("visitor-key", "visiteur-dev-key", "a key without any right at the gateway"),
    ):
        variable = f"SAGA_TEST_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", default=os.environ.get(variable, default), help=f"{meaning} (or {variable})")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    stack = Stack(options(arguments))
    started = time.monotonic()
    with stack.http:
        missing = unreachable(stack)
        if missing is not None:
            print(missing, file=sys.stderr)
            return 2
        failed = [check.__name__.replace("_", " ") for check in CHECKS if not run(check, stack)]
    if failed:
        print(f"\n{len(failed)} of {len(CHECKS)} checks failed: {'; '.join(failed)}")
        return 1
    print(f"\nall {len(CHECKS)} checks passed in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
