"""The flight booking as a dialogue with its participants."""

from itertools import pairwise

import pytest

from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows.booking import BOOKING
from tests.support.dialogue import SAGA_ID, Dialogue

PASSENGERS = [{"first_name": "Ada", "last_name": "Byron", "gender": "female"}]
INPUT = {
    "flight_id": 123,
    "user_id": 1,
    "total_fare": 500.0,
    "loyalty_points_to_use": 1000,
    "payment_method": "card",
    "passengers": PASSENGERS,
}
DO = {
    "RESERVE_SEAT": "POST flights /api/flights/123/seat-reservations/",
    "DEDUCT_LOYALTY_POINTS": "POST loyalty /api/members/1/point-deductions/",
    "PROCESS_PAYMENT": "POST payments /api/payments/",
    "CONFIRM_BOOKING": "POST flights /api/bookings/",
}
UNDO = {
    "RESERVE_SEAT": "POST flights /api/flights/123/seat-reservations/cancel/",
    "DEDUCT_LOYALTY_POINTS": "POST loyalty /api/members/1/point-refunds/",
    "PROCESS_PAYMENT": "POST payments /api/payments/refund/",
    "CONFIRM_BOOKING": "POST flights /api/bookings/cancel/",
}
ANSWER = {
    "RESERVE_SEAT": {"seat_id": "s-1"},
    "DEDUCT_LOYALTY_POINTS": {"points_deducted": 1000, "discount": 10.0},
    "PROCESS_PAYMENT": {"transaction_id": "t-1"},
    "CONFIRM_BOOKING": {"booking_reference": "A1B2C3D4"},
}
STEPS = list(DO)
WITHOUT_POINTS = [step for step in STEPS if step != "DEDUCT_LOYALTY_POINTS"]


def booking(**changes):
    given = {name: value for name, value in {**INPUT, **changes}.items() if value is not None}
    return Dialogue(BOOKING, given)


def done(dialogue, *steps):
    for step in steps:
        dialogue.expect(DO[step]).ok(ANSWER[step])
    return dialogue


def undone(dialogue, *steps):
    """Each undo is due in this order, and says which call it takes back and nothing else."""
    for step in steps:
        dialogue.expect(UNDO[step])
        assert dialogue.tasks()[0].body == {"undo_of": f"{SAGA_ID}:{step}:do"}
        assert dialogue.keys[-1] == f"{step}:undo"
        dialogue.ok()
    return dialogue


def body_of(dialogue):
    (task,) = dialogue.tasks()
    return task.body


def test_a_booking_with_points_goes_through_in_four_calls():
    dialogue = done(booking(), *STEPS)

    dialogue.ends("COMPLETED", "BOOKING_CONFIRMED")
    assert dialogue.saga.outputs == ANSWER
    assert dialogue.keys == [f"{step}:do" for step in STEPS]


@pytest.mark.parametrize("points", [0, None])
def test_without_points_the_loyalty_service_is_not_asked(points):
    dialogue = done(booking(loyalty_points_to_use=points), "RESERVE_SEAT").expect(DO["PROCESS_PAYMENT"])

    assert body_of(dialogue)["discount"] == 0
    done(dialogue, "PROCESS_PAYMENT", "CONFIRM_BOOKING").ends("COMPLETED", "BOOKING_CONFIRMED")
    assert dialogue.saga.outputs["DEDUCT_LOYALTY_POINTS"] is None


def test_each_service_is_told_what_it_needs():
    dialogue = booking()
    assert body_of(dialogue) == {"user_id": 1, "passengers": PASSENGERS}
    assert body_of(done(dialogue, "RESERVE_SEAT")) == {"points": 1000}
    paid = {"user_id": 1, "amount": 500.0, "discount": 10.0, "payment_method": "card"}
    assert body_of(done(dialogue, "DEDUCT_LOYALTY_POINTS")) == paid
    confirmed = {"flight_id": 123, "user_id": 1, "seat_id": "s-1", "transaction_id": "t-1"}
    assert body_of(done(dialogue, "PROCESS_PAYMENT")) == confirmed


def test_a_date_and_a_class_reach_the_flight_service_when_they_are_asked_for():
    wishes = {"flight_date": "2026-03-01", "seat_class": "Economy"}

    assert body_of(booking(**wishes)) == {"user_id": 1, "passengers": PASSENGERS, **wishes}


@pytest.mark.parametrize("discount", [0, "12.50"])
def test_a_discount_is_a_number_also_when_it_is_nothing_or_a_text(discount):
    dialogue = done(booking(), "RESERVE_SEAT").ok({"points_deducted": 1000, "discount": discount})

    assert body_of(dialogue)["discount"] == float(discount)


@pytest.mark.parametrize(
    ("points", "steps", "failing"),
    [(1000, STEPS, step) for step in STEPS] + [(0, WITHOUT_POINTS, step) for step in WITHOUT_POINTS],
)
def test_what_was_done_before_a_refusal_is_undone_last_first(points, steps, failing):
    before = steps[: steps.index(failing)]
    dialogue = done(booking(loyalty_points_to_use=points), *before)

    dialogue.expect(DO[failing]).given(Rejected("409"))

    undone(dialogue, *reversed(before)).ends("COMPENSATED" if before else "FAILED", "BOOKING_FAILED")
    assert (dialogue.saga.failure.step, dialogue.saga.failure.reason) == (failing, "409")


@pytest.mark.parametrize("failing", STEPS)
def test_a_step_that_may_have_been_done_is_undone_too(failing):
    before = STEPS[: STEPS.index(failing)]
    dialogue = done(booking(), *before)

    for _ in range(4):
        dialogue.expect(DO[failing]).given(Unknown("no answer in time"))

    assert set(dialogue.keys[-4:]) == {f"{failing}:do"}
    undone(dialogue, failing, *reversed(before)).ends("COMPENSATED", "BOOKING_FAILED")


@pytest.mark.parametrize("failing", STEPS)
def test_a_step_that_certainly_was_not_done_is_not_undone(failing):
    before = STEPS[: STEPS.index(failing)]
    dialogue = done(booking(), *before)

    for _ in range(4):
        dialogue.expect(DO[failing]).given(Unavailable("connection refused"))

    undone(dialogue, *reversed(before)).ends("COMPENSATED" if before else "FAILED", "BOOKING_FAILED")


def test_an_answer_without_what_later_steps_need_is_none():
    dialogue = booking()

    for _ in range(4):
        dialogue.expect(DO["RESERVE_SEAT"]).ok({})

    undone(dialogue, "RESERVE_SEAT").ends("COMPENSATED", "BOOKING_FAILED")


def test_the_states_passed_through_are_those_of_the_diagram():
    for points in (0, 1000):
        dialogue = done(booking(loyalty_points_to_use=points), *(STEPS if points else WITHOUT_POINTS))
        states = dialogue.states()
        assert set(pairwise(states)) <= BOOKING.transitions()
        assert (states[0], states[-1]) == ("BOOKING_REQUESTED", "BOOKING_CONFIRMED")
