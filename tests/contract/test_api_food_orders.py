"""The food orders' API, as its users call it."""

from uuid import UUID

import api_support
import pytest
from api_support import UNKNOWN_ID, problem, shaped, stored

from application.recovery import claim_due, drive
from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from interfaces.contracts import EXAMPLE_FOOD_ORDER, FOOD_RESULT, FOOD_STATUS
from interfaces.order_processing_api import NO_REASON
from saga_service import bootstrap

api = api_support.api

DONE = {
    "create_order": Succeeded({"id": 71, "status": "PENDING_PAYMENT"}),
    "process_payment": Succeeded({"id": 5, "status": "CAPTURED"}),
    "confirm_order": Succeeded({"status": "CONFIRMED"}),
}
ORDER, PAYMENT, CONFIRMATION = EXAMPLE_FOOD_ORDER["step_data"]


@pytest.fixture(autouse=True)
def _participants(api):
    api.participants.answers.update(DONE)


def start(api, body=EXAMPLE_FOOD_ORDER, answers=None, **headers):
    api.participants.answers.update(answers or {})
    return api.post("/sagas/start", body, **headers)


def status_of(api, saga_id):
    return shaped(api.get(f"/sagas/{saga_id}/status"), FOOD_STATUS)


def worked(saga_id):
    """A worker comes round once."""
    lease, claimed = claim_due(bootstrap.platform().engine, 10)
    assert [str(one.saga.id) for one in claimed] == [saga_id]
    assert drive(bootstrap.platform().engine, claimed[0], lease)


def with_step(index, **changes):
    steps = [dict(step) for step in EXAMPLE_FOOD_ORDER["step_data"]]
    steps[index].update(changes)
    return {**EXAMPLE_FOOD_ORDER, "step_data": steps}


def test_an_order_is_created_paid_and_confirmed(api):
    answer = start(api)

    result = shaped(answer, FOOD_RESULT, 201)
    assert (result["success"], result["error"]) == (True, None)
    assert answer.headers["Location"] == f"/sagas/{result['saga_id']}/status"
    assert [(call.method, call.service, call.path) for call in api.participants.calls] == [
        ("POST", "orders", "/orders"),
        ("POST", "payments", "/payments"),
        ("POST", "orders", "/orders/71/confirm"),
    ]
    assert [call.body for call in api.participants.calls] == [ORDER, {**PAYMENT, "order_id": 71}, {"order_id": 71}]


def test_the_status_tells_the_steps(api):
    saga_id = start(api).json()["saga_id"]

    told = status_of(api, saga_id)

    assert (told["saga_id"], told["saga_type"], told["entity_id"]) == (saga_id, "order_processing", 123)
    assert (told["status"], told["current_step"], told["error"]) == ("COMPLETED", None, None)
    assert told["steps"] == [
        {"name": name, "status": "COMPLETED", "attempts": 1, "error": None}
        for name in ("create_order", "process_payment", "confirm_order")
    ]


def test_a_refused_card_cancels_the_order_and_is_told(api):
    answer = start(api, answers={"process_payment": Rejected("HTTP 402 card_refused")})

    result = shaped(answer, FOOD_RESULT, 409)
    assert (result["success"], result["error"]) == (False, "process_payment: HTTP 402 card_refused")
    assert api.participants.calls[-1].path == "/orders/71/compensate"
    told = status_of(api, result["saga_id"])
    assert (told["status"], told["error"]) == ("COMPENSATED", result["error"])
    assert [step["status"] for step in told["steps"]] == ["COMPENSATED", "FAILED", "PENDING"]


@pytest.mark.parametrize(
    ("answers", "status", "stands"),
    [
        ({"create_order": Rejected("restaurant closed")}, 409, "FAILED"),
        ({"confirm_order": Rejected("too busy")}, 409, "COMPENSATED"),
        ({"confirm_order": Unknown("no answer in time")}, 502, "COMPENSATED"),
        ({"process_payment": Unavailable("down")}, 502, "COMPENSATED"),
        ({"process_payment": Unavailable("busy", 5.0)}, 202, "RUNNING"),
        ({"process_payment": Unknown("?"), "process_payment:inquire": Unavailable("down", 5.0)}, 202, "RUNNING"),
    ],
)
def test_an_order_that_does_not_go_through_says_so(api, answers, status, stands):
    answer = start(api, answers=answers)

    result = shaped(answer, FOOD_RESULT, status)
    assert result["success"] is False
    assert result["error"]
    assert status_of(api, result["saga_id"])["status"] == stands
    assert ("Retry-After" in answer.headers) == (status == 202)


def test_an_unknown_payment_that_was_taken_is_found_by_its_key(api):
    found = Succeeded({"outcome": "done", "id": 5})
    result = start(api, answers={"process_payment": Unknown("?"), "process_payment:inquire": found}).json()

    assert result["success"]
    [asked] = [call for call in api.participants.calls if call.path == "/payments/outcome"]
    assert asked.query == {"key": f"{result['saga_id']}:process_payment:do"}


def test_a_start_that_nobody_waits_for_is_told_as_unfinished(api):
    result = shaped(start(api, Prefer="respond-async"), FOOD_RESULT, 202)

    assert (result["success"], result["error"]) == (
        False,
        f"not finished yet; GET /sagas/{result['saga_id']}/status tells how it stands",
    )
    told = status_of(api, result["saga_id"])
    assert (told["status"], told["current_step"]) == ("RUNNING", "create_order")
    worked(result["saga_id"])
    assert status_of(api, result["saga_id"])["status"] == "COMPLETED"


def test_a_repeated_start_gives_the_first_order(api):
    first, again = (start(api, Idempotency_Key="phone-7") for _ in range(2))

    assert first.json() == again.json()
    assert stored()["sagas"] == 1
    problem(start(api, with_step(1, amount=51), Idempotency_Key="phone-7"), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], {"body"}),
        ({}, {"saga_type", "entity_id", "step_data"}),
        ({**EXAMPLE_FOOD_ORDER, "saga_type": "commandes"}, {"saga_type"}),
        ({**EXAMPLE_FOOD_ORDER, "saga_type": ["order_processing"]}, {"saga_type"}),
        ({**EXAMPLE_FOOD_ORDER, "entity_id": "123"}, {"entity_id"}),
        ({**EXAMPLE_FOOD_ORDER, "saga_id": UNKNOWN_ID}, {"saga_id"}),
        ({**EXAMPLE_FOOD_ORDER, "step_data": [ORDER, PAYMENT]}, {"step_data"}),
        ({**EXAMPLE_FOOD_ORDER, "step_data": [ORDER, PAYMENT, CONFIRMATION, {}]}, {"step_data"}),
        ({**EXAMPLE_FOOD_ORDER, "step_data": [ORDER, "x", CONFIRMATION]}, {"step_data[1]"}),
        ({"saga_type": "x", "entity_id": 1, "step_data": [{}, PAYMENT, {}]}, {
            "saga_type", "step_data[0].customer_id", "step_data[0].restaurant_id", "step_data[0].total_amount",
            "step_data[0].items",
        }),
        (with_step(0, customer_id=0), {"step_data[0].customer_id"}),
        (with_step(0, total_amount="50"), {"step_data[0].total_amount"}),
        (with_step(0, delivery_latitude=91), {"step_data[0].delivery_latitude"}),
        (with_step(0, delivery_longitude=-181), {"step_data[0].delivery_longitude"}),
        (with_step(0, delivery_address=""), {"step_data[0].delivery_address"}),
        (with_step(0, items=[]), {"step_data[0].items"}),
        (with_step(0, items=[{"menu_item_id": 1, "quantity": 0, "price": -1}]), {
            "step_data[0].items[0].quantity", "step_data[0].items[0].price",
        }),
        (with_step(1, amount=-1, payment_method=None), {"step_data[1].amount", "step_data[1].payment_method"}),
        (with_step(2, order_id="abc"), {"step_data[2].order_id"}),
    ],
)  # fmt: skip
def test_every_wrong_field_is_named_and_nothing_is_stored(api, body, fields):
    assert set(problem(start(api, body), 400)["errors"]) == fields
    assert (stored()["sagas"], api.participants.calls) == (0, [])


def test_what_a_step_has_beside_the_known_fields_goes_to_its_service(api):
    start(api, with_step(0, coupon="LUNCH"))

    assert api.participants.calls[0].body == {**ORDER, "coupon": "LUNCH"}


def test_a_placed_order_is_taken_back(api):
    saga_id = start(api).json()["saga_id"]

    answer = api.post(f"/sagas/{saga_id}/compensate")

    assert shaped(answer, FOOD_RESULT, 202) == {"success": True, "saga_id": saga_id, "error": None}
    assert answer.headers["Location"] == f"/sagas/{saga_id}/status"
    told = status_of(api, saga_id)
    assert (told["status"], told["current_step"]) == ("COMPENSATING", "confirm_order")
    worked(saga_id)
    assert [call.path for call in api.participants.calls[-3:]] == [
        "/orders/71/compensate",
        "/payments/5/compensate",
        "/orders/71/compensate",
    ]
    assert status_of(api, saga_id)["status"] == "COMPENSATED"
    again = api.post(f"/sagas/{saga_id}/compensate")
    assert shaped(again, FOOD_RESULT) == {"success": True, "saga_id": saga_id, "error": None}


@pytest.mark.parametrize(("body", "reason"), [(None, NO_REASON), ({}, NO_REASON), ({"reason": " call 7 "}, "call 7")])
def test_who_took_it_back_and_why_is_in_the_history(api, body, reason):
    saga_id = start(api).json()["saga_id"]
    api.post(f"/sagas/{saga_id}/compensate", body)

    [act] = [event for event in bootstrap.platform().engine.store.load(UUID(saga_id)).history if event.actor][1:]
    assert (act.type, act.actor, act.reason) == ("compensation_requested", "development", reason)


@pytest.mark.parametrize("body", [[], {"reason": ""}, {"reason": 7}, {"reason": "x" * 501}, {"why": "because"}])
def test_a_wrong_reason_changes_nothing(api, body):
    saga_id = start(api).json()["saga_id"]

    problem(api.post(f"/sagas/{saga_id}/compensate", body), 400, "invalid")
    assert status_of(api, saga_id)["status"] == "COMPLETED"


def test_an_order_whose_undo_was_given_up_says_so_and_cannot_be_taken_back_twice(api):
    refused = {"process_payment": Rejected("402"), "create_order:undo": Rejected("no")}
    result = shaped(start(api, answers=refused), FOOD_RESULT, 202)

    told = status_of(api, result["saga_id"])
    assert (told["status"], told["current_step"]) == ("STUCK", "create_order")
    assert "the undo of create_order was given up" in result["error"]
    problem(api.post(f"/sagas/{result['saga_id']}/compensate"), 409, "not_allowed")


def test_an_order_that_a_driver_owns_is_not_taken_back_under_its_hands(api):
    def taken_back_meanwhile(task):
        problem(api.post(f"/sagas/{task.saga_id}/compensate"), 409, "saga_driven")
        return DONE["process_payment"]

    assert start(api, answers={"process_payment": taken_back_meanwhile}).status_code == 201


def test_an_order_that_is_being_taken_back_is_answered_so_also_while_a_driver_is_at_it(api):
    saga_id = start(api).json()["saga_id"]
    assert api.post(f"/sagas/{saga_id}/compensate").status_code == 202
    engine = bootstrap.platform().engine
    lease, (claimed,) = claim_due(engine, 1)
    assert str(claimed.saga.id) == saga_id
    seq = claimed.saga.seq

    again = api.post(f"/sagas/{saga_id}/compensate", {"reason": "once more"})

    assert shaped(again, FOOD_RESULT, 202)["success"]
    assert (again.headers["Location"], engine.store.load(UUID(saga_id)).seq) == (f"/sagas/{saga_id}/status", seq)
    engine.checkpoint(claimed.saga, [], lease, engine.clock.now())


def test_another_workflows_saga_is_no_food_order(api):
    saga_id = api.order().json()["saga_id"]

    for answer in (
        api.get(f"/sagas/{saga_id}/status"),
        api.post(f"/sagas/{saga_id}/compensate"),
        api.get(f"/sagas/{UNKNOWN_ID}/status"),
        api.post(f"/sagas/{UNKNOWN_ID}/compensate"),
    ):
        problem(answer, 404, "saga_not_found")
    assert api.get(f"/api/saga/commandes/{saga_id}/").json()["etat"] == "SAGA_TERMINEE"


def test_a_food_order_is_a_saga_like_any_other(api):
    saga_id = start(api).json()["saga_id"]

    saga = api.get(f"/api/sagas/transactions/{saga_id}/").json()
    assert (saga["workflow"], saga["state"]) == ("order_processing", "COMPLETED")
    same = api.post("/api/sagas/start/", {
        "saga_type": "order_processing", "input": {"entity_id": 123, "step_data": EXAMPLE_FOOD_ORDER["step_data"]},
    })  # fmt: skip
    assert (same.status_code, same.json()["state"]) == (201, "COMPLETED")
