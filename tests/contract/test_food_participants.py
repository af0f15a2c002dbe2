"""The food reference services keep the participants' contract, as real processes over real HTTP."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from participants_support import Participant, at_once, running

from participants.orders import BUSY_RESTAURANT, CLOSED_RESTAURANT
from participants.payments import REFUSED_METHOD

ITEM = {"menu_item_id": 1, "quantity": 2, "price": 25.0}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Participant]]:
    directory = tmp_path_factory.mktemp("food")
    with running("orders", directory) as orders, running("payments", directory) as payments:
        yield {"orders": orders, "payments": payments}


class Calls:
    """One saga's call that makes something, its inquiry, and its undo by id."""

    def __init__(self, service: Participant, **changes: object) -> None:
        self.service, self.saga_id = service, str(uuid4())
        self.key = f"{self.saga_id}:step:do"
        bodies = {
            "orders": {"customer_id": 1, "restaurant_id": 2, "total_amount": 50.0, "items": [ITEM]},
            "payments": {"order_id": 71, "amount": 50.0, "payment_method": "credit_card"},
        }
        self.body = {**bodies[service.name], **changes}

    def do(self):
        return self.service.call("POST", f"/{self.service.name}", self.body, key=self.key)

    def made(self) -> int:
        answer = self.do()
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def confirm(self, number, body=None):
        return self.service.call("POST", f"/orders/{number}/confirm", body or {}, key=f"{self.saga_id}:confirm:do")

    def undo(self, number, of="step"):
        body = {"undo_of": f"{self.saga_id}:{of}:do"} if of else None
        path = f"/{self.service.name}/{number}/compensate"
        return self.service.call("POST", path, body, key=f"{self.saga_id}:{of}:undo")

    def asked(self):
        answer = self.service.call("GET", f"/{self.service.name}/outcome?key={self.key}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def status(self, number) -> str:
        return self.service.get(f"/{self.service.name}/{number}")["status"]

    def effects(self) -> list[tuple[str, str]]:
        return [(key.split(":")[1], operation) for key, operation, _ in self.service.effects(self.saga_id)]


@pytest.fixture(params=["orders", "payments"])
def calls(services, request) -> Calls:
    return Calls(services[request.param])


@pytest.fixture
def order(services) -> Calls:
    return Calls(services["orders"])


def test_what_was_made_is_undone_by_its_id(calls):
    number = calls.made()
    made = calls.status(number)
    undone = calls.undo(number)
    assert (undone.status_code, undone.json()["id"]) == (200, number)
    assert (made, calls.status(number)) in {("PENDING_PAYMENT", "CANCELLED"), ("CAPTURED", "REFUNDED")}
    assert calls.service.effects(calls.saga_id) == [(calls.key, "do", 50), (calls.key, "undo", 50)]


def test_repeated_calls_have_one_effect_and_the_first_answer(calls):
    first, again = calls.do(), calls.do()
    assert (first.content, again.headers["Idempotent-Replayed"]) == (again.content, "true")
    number = first.json()["id"]
    assert calls.undo(number).content == calls.undo(number).content
    assert calls.effects() == [("step", "do"), ("step", "undo")]


def test_equal_calls_at_once_have_one_effect_and_one_answer(calls):
    answers = at_once(10, calls.do)
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    number = answers[0].json()["id"]
    assert len({(answer.status_code, answer.content) for answer in at_once(10, lambda: calls.undo(number))}) == 1
    assert calls.effects() == [("step", "do"), ("step", "undo")]


def test_the_inquiry_tells_what_was_done_until_it_is_undone(calls):
    answer = calls.do().json()
    assert calls.asked() == {**answer, "outcome": "done"}
    calls.undo(answer["id"])
    assert calls.asked() == {"outcome": "not_done"}


def test_what_the_inquiry_called_not_done_never_happens(calls):
    assert calls.asked() == calls.asked() == {"outcome": "not_done"}
    late = calls.do()
    assert (late.status_code, late.json()["code"], calls.effects()) == (409, "call_was_undone", [])


def test_a_call_and_its_inquiry_at_once_agree(services):
    for _ in range(10):
        calls = Calls(services["orders"])
        done, asked = at_once(1, calls.do, calls.asked)
        assert (done.status_code, asked["outcome"]) in {(201, "done"), (409, "not_done")}
        assert calls.asked()["outcome"] == asked["outcome"]


def test_an_undo_without_undo_of_takes_back_what_has_this_id(calls):
    number = calls.made()
    assert calls.undo(number, of=None).status_code == 200
    assert calls.effects() == [("step", "do"), ("step", "undo")]
    assert calls.undo(99_999, of=None).status_code == 404


def test_an_undo_of_another_id_is_refused_and_changes_nothing(calls):
    number = calls.made()
    before = calls.status(number)
    assert calls.undo(number + 1).status_code == 409
    assert (calls.status(number), calls.effects()) == (before, [("step", "do")])
    assert calls.undo(number).status_code == 200


def test_an_empty_undo_succeeds_and_bars_the_call(calls):
    assert calls.undo(4711).json() == {"outcome": "nothing_to_undo"}
    assert calls.do().status_code == 409
    assert calls.effects() == []


def test_a_confirmation_is_undone_by_the_orders_id_together_with_the_order(order):
    number = order.made()
    assert order.confirm(number, {"order_id": number}).json() == {"id": number, "status": "CONFIRMED"}
    assert order.undo(number, of="confirm").json() == order.undo(number).json() == {"id": number, "status": "CANCELLED"}
    assert order.effects() == [("step", "do"), ("confirm", "do"), ("confirm", "undo"), ("step", "undo")]


def test_a_confirmation_that_was_undone_before_it_came_is_refused(order):
    number = order.made()
    assert order.undo(number, of="confirm").json() == {"outcome": "nothing_to_undo"}
    assert order.status(number) == "PENDING_PAYMENT"
    assert order.confirm(number).json()["code"] == "call_was_undone"


def test_a_cancelled_order_is_not_confirmed(order):
    number = order.made()
    order.undo(number)
    assert (order.confirm(number).status_code, order.status(number)) == (409, "CANCELLED")


def test_a_confirmation_of_no_order_or_of_another_is_refused(order):
    number = order.made()
    assert order.confirm(99_999).status_code == 404
    assert Calls(order.service).confirm(number, {"order_id": number + 1}).status_code == 400


def test_restaurants_refuse_at_once_or_when_it_is_time_to_cook(services):
    assert Calls(services["orders"], restaurant_id=CLOSED_RESTAURANT).do().json()["code"] == "restaurant_closed"
    busy = Calls(services["orders"], restaurant_id=BUSY_RESTAURANT)
    assert busy.confirm(busy.made()).json()["code"] == "restaurant_busy"


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"payment_method": REFUSED_METHOD}, "card_refused"), ({"amount": 10_000.01}, "insufficient_funds")],
)
def test_a_refused_payment_is_402_and_takes_nothing(services, changes, code):
    payment = Calls(services["payments"], **changes)
    answer = payment.do()
    assert (answer.status_code, answer.json()["code"]) == (402, code)
    assert (payment.asked(), payment.effects()) == ({"outcome": "not_done"}, [])


def test_an_order_is_shown_with_its_items(services):
    order = Calls(services["orders"], delivery_address="123 Main St")
    number = order.made()
    assert services["orders"].get(f"/orders/{number}") == {**order.body, "id": number, "status": "PENDING_PAYMENT"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("orders", {"customer_id": "1"}),
        ("orders", {"restaurant_id": 0}),
        ("orders", {"total_amount": 1.005}),
        ("orders", {"items": []}),
        ("orders", {"items": [{**ITEM, "quantity": 0}]}),
        ("payments", {"order_id": None}),
        ("payments", {"order_id": ""}),
        ("payments", {"order_id": True}),
        ("payments", {"amount": -1}),
        ("payments", {"payment_method": ""}),
    ],
)
def test_a_wrong_field_is_refused_by_name_and_can_be_repaired_under_the_same_key(services, name, changes):
    calls = Calls(services[name], **changes)
    answer = calls.do()
    assert (answer.status_code, next(iter(changes)) in answer.json()["detail"]) == (400, True)
    calls.body = Calls(services[name]).body
    assert calls.do().status_code == 201


@pytest.mark.parametrize("query", ["", "?key=", "?key=s:step:undo", "?key=s:step:inquire", "?key=" + "x" * 256])
def test_an_inquiry_must_name_a_call(calls, query):
    assert calls.service.call("GET", f"/{calls.service.name}/outcome{query}").status_code == 400


def test_an_effect_without_a_key_is_refused(calls):
    for path in ("", "/1/compensate"):
        answer = calls.service.call("POST", f"/{calls.service.name}{path}", calls.body)
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")
