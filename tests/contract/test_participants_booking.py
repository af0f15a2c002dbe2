"""The flight services keep the participants' contract, as real processes over real HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from participants_support import Participant, at_once, running

from participants.travellers import BARRED, DECLINED, TRAVELLER

PARTY = [{"first_name": "Ada", "last_name": "Byron", "gender": "female"}, {"first_name": "Bo", "last_name": "Li"}]
SEATS, POINTS, PAYMENTS, BOOKINGS = (
    "/api/flights/{}/seat-reservations/",
    "/api/members/{}/",
    "/api/payments/",
    "/api/bookings/",
)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Participant]]:
    directory = tmp_path_factory.mktemp("services")
    with (
        running("flights", directory) as flights,
        running("loyalty", directory) as loyalty,
        running("payments", directory) as payments,
    ):
        yield {"flights": flights, "loyalty": loyalty, "payments": payments}


@dataclass
class Pair:
    """One step's two calls: its do, and its undo."""

    service: Participant
    do_path: str
    body: dict[str, Any]
    undo_path: str
    step: str = "STEP"
    saga_id: str = field(default_factory=lambda: str(uuid4()))

    def do(self):
        return self.service.call("POST", self.do_path, self.body, key=f"{self.saga_id}:{self.step}:do")

    def undo(self):
        body = {"undo_of": f"{self.saga_id}:{self.step}:do"}
        return self.service.call("POST", self.undo_path, body, key=f"{self.saga_id}:{self.step}:undo")

    def effects(self):
        return [(operation, quantity) for _, operation, quantity in self.service.effects(self.saga_id)]


def seats(services, flight=123, user=TRAVELLER, **more):
    path = SEATS.format(flight)
    return Pair(services["flights"], path, {"user_id": user, "passengers": PARTY, **more}, f"{path}cancel/")


def points(services, count=250, user=TRAVELLER):
    path = POINTS.format(user)
    return Pair(services["loyalty"], f"{path}point-deductions/", {"points": count}, f"{path}point-refunds/")


def payment(services, **changes):
    body = {"user_id": TRAVELLER, "amount": 500.0, "discount": 2.5, "payment_method": "card", **changes}
    return Pair(services["payments"], PAYMENTS, body, f"{PAYMENTS}refund/")


def booking(services, user=TRAVELLER, **changes):
    seat_id = seats(services, user=user).do().json()["seat_id"]
    body = {"flight_id": 123, "user_id": user, "seat_id": seat_id, "transaction_id": "t-1", **changes}
    return Pair(services["flights"], BOOKINGS, body, f"{BOOKINGS}cancel/")


PAIRS = {
    "seats": (seats, {"seat_id"}, 2),
    "points": (points, {"points_deducted", "discount", "deduction_id"}, 250),
    "payment": (payment, {"transaction_id", "paid"}, 497.5),
    "booking": (booking, {"booking_reference"}, 1),
}


@pytest.fixture(params=PAIRS)
def pair(request, services):
    return PAIRS[request.param][0](services)


@pytest.mark.parametrize("name", PAIRS)
def test_a_do_has_its_effect_and_its_undo_takes_it_back(services, name):
    make, answered, quantity = PAIRS[name]
    pair = make(services)

    done = pair.do()

    assert (done.status_code, set(done.json())) == (201, answered)
    assert pair.effects() == [("do", quantity)]
    assert pair.undo().status_code == 200
    assert pair.effects() == [("do", quantity), ("undo", quantity)]


def test_a_repeated_call_has_one_effect_and_the_first_answer(pair):
    assert len({answer.content for answer in at_once(8, pair.do)}) == 1
    assert len(pair.effects()) == 1
    assert len({answer.content for answer in at_once(8, pair.undo)}) == 1
    assert len(pair.effects()) == 2


def test_undoing_what_never_happened_succeeds_and_a_do_that_comes_after_it_is_refused(pair):
    assert pair.undo().status_code == 200
    late = pair.do()
    assert (late.status_code, late.json()["code"]) == (409, "call_was_undone")
    assert pair.effects() == []


def test_a_do_and_its_undo_at_once_leave_no_net_effect(services):
    before = services["loyalty"].get(POINTS.format(TRAVELLER))
    for _ in range(5):
        pair = points(services)
        at_once(2, pair.do, pair.undo)
        assert len(pair.effects()) in {0, 2}
    assert services["loyalty"].get(POINTS.format(TRAVELLER)) == before


def test_seats_and_points_are_counted(services):
    def counted():
        left = services["flights"].get("/api/flights/123/")["seats_left"]
        return left, services["loyalty"].get(POINTS.format(TRAVELLER))["points"]

    before, held, taken = counted(), seats(services), points(services)
    assert (held.do().status_code, taken.do().json()["discount"]) == (201, 2.5)
    assert counted() == (before[0] - 2, before[1] - 250)
    held.undo(), taken.undo()
    assert counted() == before


def test_a_booking_is_shown_and_so_is_its_payment(services):
    paid, booked = payment(services), booking(services)
    transaction = paid.do().json()["transaction_id"]
    shown = services["payments"].get(f"{PAYMENTS}{transaction}/")
    assert (shown["paid"], shown["status"]) == (497.5, "PAID")
    paid.undo()
    assert services["payments"].get(f"{PAYMENTS}{transaction}/")["status"] == "REFUNDED"
    reference = booked.do().json()["booking_reference"]
    assert services["flights"].get(f"{BOOKINGS}{reference}/")["status"] == "CONFIRMED"
    booked.undo()
    assert services["flights"].get(f"{BOOKINGS}{reference}/")["status"] == "CANCELLED"


REFUSED = {
    "a flight that is sold out": (lambda s: seats(s, flight=125), 409, "sold_out"),
    "an unknown flight": (lambda s: seats(s, flight=9), 404, "unknown_flight"),
    "a flight that is none": (lambda s: seats(s, flight="first"), 404, "unknown_flight"),
    "nobody": (lambda s: seats(s, passengers=[]), 400, "invalid_request"),
    "more points than there are": (lambda s: points(s, user=4), 409, "not_enough_points"),
    "an unknown member": (lambda s: points(s, user=9), 404, "unknown_member"),
    "no points": (lambda s: points(s, count=0), 400, "invalid_request"),
    "a card that is declined": (lambda s: payment(s, user_id=DECLINED), 402, "payment_declined"),
    "more discount than fare": (lambda s: payment(s, discount=500.01), 400, "invalid_request"),
    "a third decimal": (lambda s: payment(s, amount=1.005), 400, "invalid_request"),
    "a passenger who is not carried": (lambda s: booking(s, user=BARRED), 409, "passenger_barred"),
    "a seat that nobody holds back": (lambda s: booking(s, seat_id="nowhere"), 409, "seat_not_reserved"),
    "another one's seat": (lambda s: booking(s, user_id=4), 409, "seat_not_reserved"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_says_why_and_has_no_effect(services, what):
    make, status, code = REFUSED[what]
    pair = make(services)

    answer = pair.do()

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert pair.effects() == []
    assert pair.undo().status_code == 200


def test_a_seat_is_booked_once(services):
    first = booking(services)
    first.do()
    second = Pair(first.service, first.do_path, first.body, first.undo_path)

    assert (second.do().status_code, second.do().json()["code"]) == (409, "seat_booked")


@pytest.mark.parametrize("make", [seats, points])
def test_an_undo_at_another_address_than_the_do_is_refused_and_can_be_repeated_at_the_right_one(services, make):
    pair = make(services)
    pair.do()
    right, pair.undo_path = pair.undo_path, pair.undo_path.replace("/1", "/4", 1)
    assert pair.undo().status_code == 409
    pair.undo_path = right
    assert pair.undo().status_code == 200
    assert len(pair.effects()) == 2


@pytest.mark.parametrize(
    ("name", "path"),
    [("flights", "/api/flights/9/"), ("flights", "/api/bookings/X/"), ("payments", "/api/payments/X/")],
)
def test_what_is_unknown_is_404(services, name, path):
    assert services[name].call("GET", path).status_code == 404
