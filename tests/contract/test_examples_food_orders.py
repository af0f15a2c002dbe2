"""The published examples of the food orders, as they are written; host and port aside."""

import api_support
import pytest
from api_support import fits, shaped
from examples_support import AsyncClient, curl, printed, ran

from domain.outcomes import Rejected, Succeeded
from interfaces.contracts import FOOD_RESULT, FOOD_STATUS

api = api_support.api


@pytest.fixture(autouse=True)
def _participants(api):
    api.participants.answers |= {
        "create_order": Succeeded({"id": 71, "status": "PENDING_PAYMENT"}),
        "process_payment": Succeeded({"id": 5, "status": "CAPTURED"}),
        "confirm_order": Succeeded({"status": "CONFIRMED"}),
    }


async def place_order(client):
    response = await client.post(
        "http://localhost:8009/sagas/start",
        json={
            "saga_type": "order_processing",
            "entity_id": 123,
            "step_data": [
                {
                    "customer_id": 1,
                    "restaurant_id": 2,
                    "total_amount": 50.00,
                    "delivery_address": "123 Main St",
                    "delivery_latitude": 40.7128,
                    "delivery_longitude": -74.0060,
                    "status": "PENDING_PAYMENT",
                    "items": [{"menu_item_id": 1, "quantity": 2, "price": 25.00}],
                },
                {"order_id": 123, "amount": 50.00, "payment_method": "credit_card", "status": "PENDING"},
                {"order_id": 123},
            ],
        },
    )

    result = response.json()
    if result["success"]:
        print(f"Saga completed: {result['saga_id']}")  # noqa: T201
    else:
        print(f"Saga failed: {result['error']}")  # noqa: T201
    return result


async def look(client, saga_id):
    response = await client.get(f"http://localhost:8009/sagas/{saga_id}/status")
    status = response.json()
    print(f"Saga Status: {status['status']}")  # noqa: T201
    print(f"Current Step: {status['current_step']}")  # noqa: T201
    return status


def test_an_order_is_placed_and_its_number_takes_the_place_of_the_clients(api, capsys):
    result = fits(ran(place_order(AsyncClient(api))), FOOD_RESULT)

    assert printed(capsys) == [f"Saga completed: {result['saga_id']}"]
    assert [call.body["order_id"] for call in api.participants.calls[1:]] == [71, 71]


def test_its_status_is_told(api, capsys):
    result = ran(place_order(AsyncClient(api)))
    printed(capsys)

    fits(ran(look(AsyncClient(api), result["saga_id"])), FOOD_STATUS)

    assert printed(capsys) == ["Saga Status: COMPLETED", "Current Step: None"]


def test_a_payment_that_fails_cancels_the_order(api, capsys):
    api.participants.answers["process_payment"] = Rejected("card refused")

    result = ran(place_order(AsyncClient(api)))

    assert printed(capsys) == ["Saga failed: process_payment: card refused"]
    assert ran(look(AsyncClient(api), result["saga_id"]))["status"] == "COMPENSATED"
    assert (api.participants.calls[-1].method, api.participants.calls[-1].path) == ("POST", "/orders/71/compensate")


def test_an_order_is_taken_back_by_hand(api):
    saga_id = ran(place_order(AsyncClient(api)))["saga_id"]

    answer = curl(api, f"curl -X POST http://localhost:8009/sagas/{saga_id}/compensate")

    assert shaped(answer, FOOD_RESULT, 202)["success"] is True


def test_the_service_says_that_it_is_well(api):
    assert curl(api, "curl http://localhost:8009/health").status_code == 200
