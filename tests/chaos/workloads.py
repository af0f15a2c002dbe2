"""What a run must know of each workflow; what can be read from its definition is read from there.

A further workflow is one more `Workload`: how often it is asked for, what a client sends so that all goes well, which
inputs are refused at which step, and two lines for what its participants have to show for it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from domain.definition import SagaDefinition, Step
from domain.templates import render
from domain.workflows import shipped_definitions
from participants.__main__ import services
from participants.assortment import BLOCKED_CLIENT, PRODUCTS, STORES
from participants.bets import BETTOR, FROZEN_BETTOR, HELD_SLIPS, LOAD_BETTOR, LOAD_SLIPS
from participants.orders import BUSY_RESTAURANT, CLOSED_RESTAURANT
from participants.partners import REFUSED_EMAIL, UNALLIED_EMAIL
from participants.payments import REFUSED_METHOD
from participants.travellers import BARRED, DECLINED, POOR, TRAVELLER

Place = tuple[str, int]
"""A step and the number of its item."""
Given = dict[str, Any]

PLENTY, SCARCE, NONE = PRODUCTS[5].id, PRODUCTS[3].id, PRODUCTS[4].id
LINES = 2
"""Of an order that a fault is planned for: its undos are then two."""
_DEFINITIONS = {definition.name: definition for definition in shipped_definitions()}
_LISTENERS = {service.listens.topic: name for name, service in services().items() if service.listens}


@dataclass(frozen=True, slots=True)
class Api:
    """A way to start a saga, and the fields of its answer that name it and say its state."""

    path: str
    id: str
    state: str | None
    more: Mapping[str, Any] = field(default_factory=dict)
    """What a request says beside the input."""
    waits: bool = True
    """Whether it can tell the end, and not only that it has begun."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What kind of order is wanted."""

    number: int
    refused: str | None
    """At this step."""
    planned: bool
    """Whether a fault was planned for it: then it passes through every step."""


ENGINE = Api("/api/sagas/start/", "id", "state")
"""The engine's own, for any workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One workflow of the mix."""

    definition: SagaDefinition
    share: int
    """Of the mix, in percent."""
    given: Callable[[Random, Wish], Given]
    """An input as it is wanted."""
    refusals: Mapping[str, int]
    """Of a hundred orders that no fault was planned for, so many are refused at this step; the last is among them."""
    own_api: Api | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    """By step, SQL over its service's database: amounts by subject, each as it rises with the step's effects."""
    things: Mapping[str, str] = field(default_factory=dict)
    """By step, SQL over its service's database: the subjects that stand."""

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def last_step(self) -> str:
        return self.definition.steps[-1].name

    @property
    def services(self) -> set[str]:
        """Everybody who has a part in it."""
        requests = (request.service for step in self.definition.steps for request in step.requests)
        return {*requests, *(_LISTENERS[message.topic] for step in self.definition.steps for message in step.messages)}

    @property
    def speaks(self) -> bool:
        """Whether it needs the broker."""
        return any(step.messages for step in self.definition.steps)

    @property
    def listener(self) -> str:
        """The service that carries its messages out."""
        return next(_LISTENERS[message.topic] for step in self.definition.steps for message in step.messages)

    def service(self, step: str) -> str:
        """Who has this step's effects."""
        found = next(each for each in self.definition.steps if each.name == step)
        return found.action.service if found.action else _LISTENERS[found.messages[0].topic]

    def effects(self, given: Given) -> set[Place]:
        """What a completed saga of this input has done."""
        scope = {"input": given}
        return {
            (step.name, item)
            for step in self.definition.steps
            if not step.safe and (step.when is None or render(step.when, scope))
            for item in range(len(render(step.foreach, scope)) if step.foreach else 1)
        }

    def undone_by_calls(self) -> set[str]:
        """The steps whose undo has happened when it is recorded; one that was sent has not."""
        return {step.name for step in self.definition.steps if step.compensation}

    def state(self, status: str) -> str | None:
        """The business's word for how a saga has ended."""
        states = {definition.value: words for definition, words in self.definition.states_by_status().items()}
        return next(iter(states[status])) if status in {"COMPLETED", "COMPENSATED", "FAILED"} else None

    # --- the calls of an order that a fault was planned for -------------------------------------------------------

    def reads(self) -> list[str]:
        """`step[item]:do` of every call without effect."""
        return [call for step in self.definition.steps if step.safe for call in _calls(step, "do")]

    def dos(self) -> list[str]:
        """`step[item]:do` of every call with one."""
        return [call for step in self.definition.steps if step.action and not step.safe for call in _calls(step, "do")]

    def undos(self) -> list[str]:
        """`step[item]:undo` of every call that undoes what came before the last step, in the order in which they go."""
        before = [call for step in self.definition.steps[:-1] if step.compensation for call in _calls(step, "undo")]
        return before[::-1]

    def inquired(self) -> list[str]:
        """The steps that can be asked whether they were done."""
        return [step.name for step in self.definition.steps if step.inquiry]

    def checkpoints(self) -> int:
        """So many, at least, has a saga after its creation that goes all the way."""
        return max(1, len(self.reads()) + len(self.dos()) - 1)


def _calls(step: Step, action: str) -> Iterator[str]:
    places = [f"{step.name}[{item}]" for item in range(LINES)] if step.foreach else [step.name]
    return (f"{place}:{action}" for place in places)


def _order(draw: Random, wish: Wish) -> Given:
    products = {"verification_stock": (NONE, 30), "reservation_stock": (SCARCE, 1)}
    product, units = products.get(wish.refused or "", (PLENTY, draw.randint(1, 5)))
    client = BLOCKED_CLIENT if wish.refused == "creation_commande" else str(UUID(int=draw.getrandbits(128), version=4))
    count = LINES if wish.planned else draw.randint(1, 3)
    return {
        "client_id": client,
        "magasin_id": draw.choice(STORES),
        "lignes": [{"produit_id": product, "quantite": units} for _ in range(count)],
    }


def _cashout(_: Random, wish: Wish) -> Given:
    slips = {
        "cashout_completion": (HELD_SLIPS[wish.number % len(HELD_SLIPS)], LOAD_BETTOR),
        "liability_update": (127, BETTOR),
        "wallet_credit": (126, FROZEN_BETTOR),
        "live_odds_fetch": (125, BETTOR),
        "cashout_validation": (124, BETTOR),
    }
    slip, owner = slips.get(wish.refused or "", (LOAD_SLIPS[wish.number % len(LOAD_SLIPS)], LOAD_BETTOR))
    return {"bet_slip_id": slip, "user_id": owner}


def _food_order(draw: Random, wish: Wish) -> Given:
    restaurants = {"create_order": CLOSED_RESTAURANT, "confirm_order": BUSY_RESTAURANT}
    total = draw.randint(500, 9000) / 100
    order = {
        "customer_id": 1 + wish.number,
        "restaurant_id": restaurants.get(wish.refused or "", draw.randint(1, 9)),
        "total_amount": total,
        "delivery_address": "1 Chaos Street",
        "items": [{"menu_item_id": 1, "quantity": 1, "price": total}],
    }
    method = REFUSED_METHOD if wish.refused == "process_payment" else "card"
    return {"entity_id": wish.number, "step_data": [order, {"amount": total, "payment_method": method}, {}]}


def _booking(draw: Random, wish: Wish) -> Given:
    users = {"PROCESS_PAYMENT": DECLINED, "CONFIRM_BOOKING": BARRED, "DEDUCT_LOYALTY_POINTS": POOR}
    with_points = wish.planned or wish.refused == "DEDUCT_LOYALTY_POINTS" or draw.random() < 0.5
    return {
        "flight_id": 125 if wish.refused == "RESERVE_SEAT" else 123,
        "user_id": users.get(wish.refused or "", TRAVELLER),
        "total_fare": draw.randint(5000, 90000) / 100,
        "loyalty_points_to_use": draw.randint(200, 900) if with_points else 0,
        "payment_method": "card",
        "passengers": [{"first_name": "Ada", "last_name": "Lovelace"}] * draw.randint(1, 3),
    }


def _partner(_: Random, wish: Wish) -> Given:
    emails = {"create_partner": REFUSED_EMAIL, "create_alliance": UNALLIED_EMAIL}
    return {
        "nombre": f"Partner {wish.number}",
        "email": emails.get(wish.refused or "", f"partner-{wish.number}@example.com"),
        "telefono": "+1234567890",
        "direccion": "1 Chaos Street",
    }


_ALL = (
    Workload(
        definition=_DEFINITIONS["commandes"],
        share=32,
        given=_order,
        refusals={"creation_commande": 12, "reservation_stock": 5, "verification_stock": 5},
        own_api=Api("/api/saga/commandes/", "saga_id", "etat"),
        levels={"reservation_stock": "SELECT produit_id || '/' || magasin_id, -quantite_disponible FROM stock_local"},
        things={"creation_commande": "SELECT commande_id FROM commandes WHERE statut <> 'ANNULEE'"},
    ),
    Workload(
        definition=_DEFINITIONS["cashout_flow"],
        share=17,
        given=_cashout,
        refusals={
            "cashout_completion": 10,
            "liability_update": 4,
            "wallet_credit": 3,
            "live_odds_fetch": 2,
            "cashout_validation": 3,
        },
        own_api=Api("/api/sagas/cashout/start/", "saga_transaction_id", "state"),
        levels={
            "wallet_credit": "SELECT user_id, balance_cents / 100.0 FROM wallets",
            "liability_update": "SELECT bet_slip_id, -amount_cents / 100.0 FROM liabilities",
        },
        things={"cashout_completion": "SELECT bet_slip_id FROM bet_slips WHERE status = 'CASHED_OUT'"},
    ),
    Workload(
        definition=_DEFINITIONS["order_processing"],
        share=17,
        given=_food_order,
        refusals={"confirm_order": 10, "process_payment": 8, "create_order": 4},
        own_api=Api("/sagas/start", "saga_id", None, {"saga_type": "order_processing"}),
        things={
            "create_order": "SELECT id FROM orders WHERE status <> 'CANCELLED'",
            "confirm_order": "SELECT id FROM orders WHERE status = 'CONFIRMED'",
            "process_payment": "SELECT id FROM payments WHERE status = 'CAPTURED'",
        },
    ),
    Workload(
        definition=_DEFINITIONS["flight_booking"],
        share=17,
        given=_booking,
        refusals={"CONFIRM_BOOKING": 9, "PROCESS_PAYMENT": 6, "DEDUCT_LOYALTY_POINTS": 4, "RESERVE_SEAT": 3},
        levels={
            "RESERVE_SEAT": "SELECT flight_id, -seats_left FROM flights",
            "DEDUCT_LOYALTY_POINTS": "SELECT user_id, -points FROM members",
        },
        things={
            "PROCESS_PAYMENT": "SELECT transaction_id FROM fares WHERE status = 'PAID'",
            "CONFIRM_BOOKING": "SELECT booking_reference FROM bookings WHERE status = 'CONFIRMED'",
        },
    ),
    Workload(
        definition=_DEFINITIONS["partner_creation"],
        share=17,
        given=_partner,
        refusals={"create_alliance": 14, "create_partner": 6},
        own_api=Api("/api/v1/saga/partner-creation", "saga_id", None, waits=False),
        things={
            "create_partner": "SELECT partner_id FROM partners WHERE estado = 'ACTIVO'",
            "create_alliance": "SELECT alliance_id FROM alianzas WHERE estado = 'ACTIVA'",
        },
    ),
)
WORKLOADS: Mapping[str, Workload] = {workload.name: workload for workload in _ALL}
