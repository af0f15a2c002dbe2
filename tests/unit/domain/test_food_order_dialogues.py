"""The food order workflow as a dialogue with its participants."""

import pytest

from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows.order_processing import ORDER_PROCESSING, FoodOrder
from tests.support.dialogue import SAGA_ID, Dialogue

CREATE, PAY, CONFIRM = "POST orders /orders", "POST payments /payments", "POST orders /orders/71/confirm"
ASK_ORDER, ASK_PAYMENT = "GET orders /orders/outcome", "GET payments /payments/outcome"
CANCEL, REFUND = "POST orders /orders/71/compensate", "POST payments /payments/p-5/compensate"
ORDER = {
    "customer_id": 1,
    "restaurant_id": 2,
    "total_amount": 50.0,
    "items": [{"menu_item_id": 1, "quantity": 2, "price": 25.0}],
    "note": "ring twice",
}
PAYMENT = {"order_id": 123, "amount": 50.0, "payment_method": "credit_card"}
GIVEN = {"entity_id": 123, "step_data": [ORDER, PAYMENT, {"order_id": 123, "courier": 9}]}
ATTEMPTS = 4
NOT_DONE = {"outcome": "not_done"}


def food_order() -> Dialogue:
    return Dialogue(ORDER_PROCESSING, GIVEN)


def created() -> Dialogue:
    return food_order().expect(CREATE).ok({"id": 71, "status": "PENDING_PAYMENT"})


def paid() -> Dialogue:
    return created().expect(PAY).ok({"id": "p-5"})


def unanswered(dialogue: Dialogue, call: str) -> Dialogue:
    """The call is repeated until its budget is used up, and nobody knows what became of it."""
    for _ in range(ATTEMPTS):
        dialogue.expect(call).given(Unknown("no answer in time"))
    return dialogue


def unheard(dialogue: Dialogue, inquiry: str) -> Dialogue:
    """The inquiry is repeated until its budget is used up, too."""
    for _ in range(13):
        dialogue.expect(inquiry).given(Unavailable("down"))
    return dialogue


def body(dialogue: Dialogue):
    return dialogue.tasks()[0].body


def test_a_food_order_goes_through_in_three_calls_with_the_bodies_that_the_client_sent():
    dialogue = food_order().expect(CREATE)
    assert body(dialogue) == ORDER
    dialogue.ok({"id": 71}).expect(PAY)
    assert body(dialogue) == {**PAYMENT, "order_id": 71}
    dialogue.ok({"id": "p-5"}).expect(CONFIRM)
    assert body(dialogue) == {"order_id": 71, "courier": 9}
    dialogue.ok({"status": "CONFIRMED"}).ends("COMPLETED", "COMPLETED")
    assert dialogue.saga.outputs == {
        "create_order": {"id": 71},
        "process_payment": {"id": "p-5"},
        "confirm_order": {"status": "CONFIRMED"},
    }
    assert dialogue.states() == [
        "PENDING",
        "CREATING_ORDER",
        "ORDER_CREATED",
        "PROCESSING_PAYMENT",
        "PAYMENT_PROCESSED",
        "CONFIRMING_ORDER",
        "ORDER_CONFIRMED",
        "COMPLETED",
    ]


def test_a_refused_order_ends_with_nothing_to_undo():
    dialogue = food_order().expect(CREATE).given(Rejected("closed")).ends("FAILED", "FAILED")
    assert dialogue.states()[-3:] == ["ORDER_CREATION_FAILED", "COMPENSATING", "FAILED"]


def test_a_refused_card_cancels_the_order():
    dialogue = created().expect(PAY).given(Rejected("402")).expect(CANCEL)
    assert body(dialogue) == {"undo_of": f"{SAGA_ID}:create_order:do"}
    dialogue.ok().ends("COMPENSATED", "COMPENSATED")
    assert dialogue.states()[-3:] == ["PAYMENT_FAILED", "COMPENSATING", "COMPENSATED"]


def test_a_refused_confirmation_refunds_and_then_cancels():
    dialogue = paid().expect(CONFIRM).given(Rejected("too busy")).expect(REFUND)
    assert body(dialogue) == {"undo_of": f"{SAGA_ID}:process_payment:do"}
    dialogue.ok().expect(CANCEL).ok().ends("COMPENSATED", "COMPENSATED")


@pytest.mark.parametrize("before", [food_order, created])
def test_a_call_without_an_answer_is_inquired_after_under_its_own_key(before):
    place, call, inquiry = {
        food_order: ("create_order", CREATE, ASK_ORDER),
        created: ("process_payment", PAY, ASK_PAYMENT),
    }[before]
    dialogue = unanswered(before(), call).expect(inquiry)
    assert dialogue.tasks()[0].query == {"key": f"{SAGA_ID}:{place}:do"}
    assert dialogue.keys[-1] == f"{place}:inquire"


def test_an_order_that_was_created_after_all_goes_on():
    dialogue = unanswered(food_order(), CREATE).expect(ASK_ORDER).ok({"outcome": "done", "id": 71})
    dialogue.expect(PAY).ok({"id": "p-5"}).expect(CONFIRM).ok({"status": "CONFIRMED"}).ends("COMPLETED", "COMPLETED")


def test_an_order_that_was_not_created_has_nothing_to_undo():
    unanswered(food_order(), CREATE).expect(ASK_ORDER).ok(NOT_DONE).ends("FAILED", "FAILED")


def test_an_order_of_which_nobody_says_whether_it_is_there_is_parked():
    dialogue = unheard(unanswered(food_order(), CREATE), ASK_ORDER).ends("STUCK", "CREATING_ORDER")
    dialogue.act("retry").expect(ASK_ORDER).ok(NOT_DONE).ends("FAILED", "FAILED")


def test_a_payment_that_was_taken_after_all_goes_on():
    dialogue = unanswered(created(), PAY).expect(ASK_PAYMENT).ok({"outcome": "done", "id": "p-5"})
    dialogue.expect(CONFIRM).ok({"status": "CONFIRMED"}).ends("COMPLETED", "COMPLETED")


def test_a_payment_that_was_not_taken_cancels_the_order():
    dialogue = unanswered(created(), PAY).expect(ASK_PAYMENT).ok(NOT_DONE)
    dialogue.expect(CANCEL).ok().ends("COMPENSATED", "COMPENSATED")


def test_a_payment_of_which_nobody_says_whether_it_was_taken_is_parked_with_the_order_standing():
    dialogue = unheard(unanswered(created(), PAY), ASK_PAYMENT).ends("STUCK", "PROCESSING_PAYMENT")
    assert dialogue.saga.debts() == ["process_payment", "create_order"]
    dialogue.act("retry").expect(ASK_PAYMENT).ok({"outcome": "done", "id": "p-5"}).expect(CONFIRM)


def test_a_payment_that_was_taken_when_the_time_was_up_is_refunded_by_its_number():
    dialogue = created().expect(PAY).later(31).expire().expect(ASK_PAYMENT).ok({"outcome": "done", "id": "p-5"})
    dialogue.expect(REFUND).ok().expect(CANCEL).ok().ends("COMPENSATED", "COMPENSATED")
    assert dialogue.saga.failure.outcome == "deadline"


def test_a_confirmation_without_an_answer_is_undone_by_the_number_of_the_order_and_no_inquiry():
    dialogue = unanswered(paid(), CONFIRM).expect(CANCEL)
    assert body(dialogue) == {"undo_of": f"{SAGA_ID}:confirm_order:do"}
    dialogue.ok().expect(REFUND).ok().expect(CANCEL)
    assert body(dialogue) == {"undo_of": f"{SAGA_ID}:create_order:do"}
    dialogue.ok().ends("COMPENSATED", "COMPENSATED")
    assert dialogue.keys[-3:] == ["confirm_order:undo", "process_payment:undo", "create_order:undo"]


def test_a_confirmation_that_certainly_did_not_happen_is_not_undone():
    dialogue = paid()
    for _ in range(ATTEMPTS):
        dialogue.expect(CONFIRM).given(Unavailable("connection refused"))
    dialogue.expect(REFUND).ok().expect(CANCEL).ok().ends("COMPENSATED", "COMPENSATED")


def test_a_confirmed_order_can_be_taken_back_by_a_person():
    dialogue = paid().expect(CONFIRM).ok({"status": "CONFIRMED"}).act("compensate")
    dialogue.expect(CANCEL).ok().expect(REFUND).ok().expect(CANCEL).ok().ends("COMPENSATED", "COMPENSATED")


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": ""}, {"id": [71]}, {"id": True}, {"id": {"a": 1}}])
def test_an_id_that_no_undo_could_name_is_no_answer(answer):
    dialogue = food_order().expect(CREATE).ok(answer)
    assert dialogue.events[-2].outcome == "unknown"
    dialogue.expect(CREATE).ok({"id": "71"}).expect(PAY)


def test_an_id_is_one_segment_of_a_path():
    food_order().ok({"id": "a/../b"}).ok({"id": "p"}).expect("POST orders /orders/a%2F..%2Fb/confirm")


class TestFoodOrder:
    def told(self, dialogue: Dialogue):
        shown = FoodOrder(dialogue.saga).as_dict()
        return shown["status"], shown["current_step"], {step["name"]: step["status"] for step in shown["steps"]}

    def test_under_way_names_its_step(self):
        assert self.told(created().expect(PAY)) == (
            "RUNNING",
            "process_payment",
            {"create_order": "COMPLETED", "process_payment": "RUNNING", "confirm_order": "PENDING"},
        )

    def test_an_ended_one_stands_at_no_step(self):
        done = dict.fromkeys(("create_order", "process_payment", "confirm_order"), "COMPLETED")
        assert self.told(paid().expect(CONFIRM).ok({"status": "CONFIRMED"})) == ("COMPLETED", None, done)

    def test_an_undone_one_says_what_failed_and_what_was_taken_back(self):
        dialogue = created().given(Rejected("402")).ok()
        assert self.told(dialogue) == (
            "COMPENSATED",
            None,
            {"create_order": "COMPENSATED", "process_payment": "FAILED", "confirm_order": "PENDING"},
        )
        assert FoodOrder(dialogue.saga).error == "process_payment: 402"
        assert FoodOrder(dialogue.saga).steps()[1]["error"] == "402"

    def test_an_inquiry_that_says_done_makes_its_step_done(self):
        dialogue = unanswered(food_order(), CREATE).ok({"outcome": "done", "id": 71})
        assert self.told(dialogue)[2]["create_order"] == "COMPLETED"
        assert FoodOrder(dialogue.saga).steps()[0]["attempts"] == ATTEMPTS

    def test_a_parked_one_stands_where_the_trouble_is(self):
        dialogue = unheard(unanswered(created(), PAY), ASK_PAYMENT)
        status, step, steps = self.told(dialogue)
        assert (status, step, steps["process_payment"]) == ("STUCK", "process_payment", "UNKNOWN")
        assert "the inquiry was not answered" in FoodOrder(dialogue.saga).error

    def test_an_undo_that_was_given_up_is_told(self):
        dialogue = created().given(Rejected("402")).expect(CANCEL).given(Rejected("no")).ends("STUCK", "COMPENSATING")
        status, step, steps = self.told(dialogue)
        assert (status, step, steps["create_order"]) == ("STUCK", "create_order", "COMPENSATION_FAILED")

    def test_one_that_is_held_before_its_next_step_stands_there(self):
        dialogue = created().act("pause")
        assert self.told(dialogue)[:2] == ("PAUSED", "process_payment")
