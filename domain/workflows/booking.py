"""flight_booking: a seat, a discount for loyalty points, a payment, a booking; the step names are its users' own.

Every undo names the call to take back, and nothing that only an answer could tell.
"""

from typing import Any

from domain.definition import Request, SagaDefinition, Step

_COUNT = {"type": "integer", "minimum": 1, "maximum": 2**53}
_NAME = {"type": "string", "minLength": 1, "maxLength": 100}
_UNDO_OF = {"undo_of": "${saga.do_key}"}
_SEATS = "/api/flights/${input.flight_id}/seat-reservations/"
_POINTS = "/api/members/${input.user_id}/"
_WISHES = (
    "input.flight_date && {flight_date: input.flight_date} || `{}`, "
    "input.seat_class && {seat_class: input.seat_class} || `{}`"
)
"""What a passenger need not say is not said to the flight service either."""


def _post(service: str, path: str, body: Any) -> Request:
    return Request(service=service, method="POST", path=path, body=body)


BOOKING = SagaDefinition(
    name="flight_booking",
    version=1,
    title="Flight booking",
    input_schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["flight_id", "user_id", "total_fare", "payment_method", "passengers"],
        "properties": {
            "flight_id": _COUNT,
            "user_id": _COUNT,
            "total_fare": {"type": "number", "minimum": 0, "maximum": 1_000_000, "multipleOf": 0.01},
            "loyalty_points_to_use": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
            "payment_method": _NAME,
            "flight_date": {"type": "string", "format": "date"},
            "seat_class": _NAME,
            "passengers": {
                "type": "array",
                "minItems": 1,
                "maxItems": 9,
                "items": {
                    "type": "object",
                    "required": ["first_name", "last_name"],
                    "properties": {"first_name": _NAME, "last_name": _NAME, "gender": _NAME},
                },
            },
        },
    },
    initial_state="BOOKING_REQUESTED",
    completed_state="BOOKING_CONFIRMED",
    compensating_state="REVERSING",
    compensated_state="BOOKING_FAILED",
    failed_state="BOOKING_FAILED",
    steps=(
        Step(
            name="RESERVE_SEAT",
            running_state="RESERVING_SEAT",
            done_state="SEAT_RESERVED",
            failed_state="SEAT_NOT_RESERVED",
            action=_post(
                "flights",
                _SEATS,
                f"${{merge({{user_id: input.user_id, passengers: input.passengers}}, {_WISHES})}}",
            ),
            compensation=_post("flights", f"{_SEATS}cancel/", _UNDO_OF),
            output={"seat_id": "${response.seat_id}"},
        ),
        Step(
            name="DEDUCT_LOYALTY_POINTS",
            when="${(input.loyalty_points_to_use || `0`) > `0`}",
            running_state="SETTLING_POINTS",
            done_state="POINTS_SETTLED",
            failed_state="POINTS_NOT_SETTLED",
            action=_post("loyalty", f"{_POINTS}point-deductions/", {"points": "${input.loyalty_points_to_use}"}),
            compensation=_post("loyalty", f"{_POINTS}point-refunds/", _UNDO_OF),
            output={
                "points_deducted": "${response.points_deducted}",
                "discount": "${to_number(response.discount)}",
            },
        ),
        Step(
            name="PROCESS_PAYMENT",
            running_state="PROCESSING_PAYMENT",
            done_state="PAYMENT_PROCESSED",
            failed_state="PAYMENT_FAILED",
            action=_post(
                "payments",
                "/api/payments/",
                {
                    "user_id": "${input.user_id}",
                    "amount": "${input.total_fare}",
                    "discount": "${steps.DEDUCT_LOYALTY_POINTS.discount || `0`}",
                    "payment_method": "${input.payment_method}",
                },
            ),
            compensation=_post("payments", "/api/payments/refund/", _UNDO_OF),
            output={"transaction_id": "${response.transaction_id}"},
        ),
        Step(
            name="CONFIRM_BOOKING",
            running_state="CONFIRMING_BOOKING",
            failed_state="BOOKING_NOT_CONFIRMED",
            action=_post(
                "flights",
                "/api/bookings/",
                {
                    "flight_id": "${input.flight_id}",
                    "user_id": "${input.user_id}",
                    "seat_id": "${steps.RESERVE_SEAT.seat_id}",
                    "transaction_id": "${steps.PROCESS_PAYMENT.transaction_id}",
                },
            ),
            compensation=_post("flights", "/api/bookings/cancel/", _UNDO_OF),
            output={"booking_reference": "${response.booking_reference}"},
        ),
    ),
)

DEFINITIONS = (BOOKING,)
