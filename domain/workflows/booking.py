"""flight_booking: a seat, a discount for loyalty points, a payment, a booking; the step names are its users' own.

Every undo names the call to take back, and nothing that only an answer could tell. Below the definition, the words in
which its users read a saga: the result of a booking, and its log.
"""

import logging
from dataclasses import dataclass
from typing import Any

from domain.definition import Request, SagaDefinition, Step
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.outcomes import Rejected

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
    version=2,  # 2 can be found by its ids, and masks personal data
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
    masked=("gender",),
    business_ids={
        "booking_reference": "${steps.CONFIRM_BOOKING.booking_reference}",
        "flight_id": "${input.flight_id}",
        "user_id": "${input.user_id}",
        "transaction_id": "${steps.PROCESS_PAYMENT.transaction_id}",
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


@dataclass(frozen=True, slots=True)
class BookingEvent:
    """An event in the words of the booking's log: `level` is logging's, `message` is None for what it leaves out."""

    event: SagaEvent

    @property
    def level(self) -> int:
        """WARNING for a refusal and for what is tried again, ERROR for a failure that nobody wanted."""
        event = self.event
        if event.type in {EventType.SAGA_PARKED, EventType.DEADLINE_PASSED}:
            return logging.ERROR
        if event.type is EventType.STEP_FAILED:
            return logging.WARNING if event.outcome == Rejected.kind else logging.ERROR
        if event.type is EventType.ATTEMPT_FAILED:
            given_up = event.action is Action.UNDO and event.due_at is None
            return logging.ERROR if given_up else logging.WARNING if event.due_at else logging.DEBUG
        if event.type in _SAID_BY_SAGA or event.action is not None or event.type is EventType.STEP_SUCCEEDED:
            return logging.INFO
        return logging.WARNING if event.actor else logging.DEBUG

    @property
    def message(self) -> str | None:
        """One line, or none."""
        event = self.event
        if event.type in _SAID_BY_SAGA:
            return f"[SAGA] {_SAID_BY_SAGA[event.type]}"
        if event.action is Action.UNDO:
            return self._undo(f"COMPENSATE_{event.step}")
        if event.type is EventType.STEP_SUCCEEDED and event.action is None:
            left_out = event.state == next(step.done_state for step in BOOKING.steps if step.name == event.step)
            return f"[QUEUE] Step {event.step} is not needed" if left_out else None
        if event.type in _SAID_OF_STEP:
            said = _SAID_OF_STEP[event.type].format(step=event.step, attempt=event.attempt)
            return f"{said}: {event.reason}" if event.reason else said
        by = f" by {event.actor}" if event.actor else ""
        return f"[SAGA] {event.type.replace('_', ' ')}{by}" + (f": {event.reason}" if event.reason else "")

    def as_dict(self) -> dict[str, Any]:
        """`timestamp` (RFC 3339), `level`, `step`, `message`."""
        return {
            "timestamp": self.event.at.isoformat(),
            "level": logging.getLevelName(self.level),
            "step": self.event.step,
            "message": self.message,
        }

    def _undo(self, undo: str) -> str:
        event = self.event
        if event.type is EventType.ATTEMPT_SCHEDULED:
            return f"[COMPENSATION] Executing {undo}" + (f", attempt {event.attempt}" if event.attempt != 1 else "")
        if event.type is EventType.UNDO_SUCCEEDED:
            return f"[COMPENSATION] {undo} completed successfully"
        return f"[COMPENSATION] {undo}, attempt {event.attempt}: {event.reason or event.type}"


_SAID_BY_SAGA = {
    EventType.SAGA_STARTED: "Starting booking SAGA",
    EventType.COMPENSATION_STARTED: "Compensation triggered",
    EventType.SAGA_COMPLETED: "Booking SAGA completed",
    EventType.SAGA_COMPENSATED: "Booking SAGA failed, all changes reversed",
    EventType.SAGA_FAILED: "Booking SAGA failed, nothing had to be reversed",
}
_SAID_OF_STEP = {
    EventType.ATTEMPT_SCHEDULED: "[QUEUE] Executing step: {step}",
    EventType.ATTEMPT_FAILED: "[QUEUE] Step {step}, attempt {attempt}",
    EventType.STEP_SUCCEEDED: "[SAGA] Step {step} completed successfully",
    EventType.STEP_FAILED: "[SAGA] Step {step} failed",
}


@dataclass(frozen=True, slots=True)
class BookingSaga:
    """A saga read as a booking."""

    saga: Saga

    def result(self) -> dict[str, Any]:
        """What a booking is answered with: how it ended, how far it came, what was undone, and its log.

        `success` false is final only with the status COMPENSATED or FAILED.
        """
        saga = self.saga
        common = {
            "correlation_id": saga.origin.correlation_id,
            "steps_completed": len(saga.outputs),
            "total_steps": len(BOOKING.steps),
            "saga_id": str(saga.id),
            "status": saga.status.value,
            "saga_log": [line.as_dict() for line in map(BookingEvent, saga.history) if line.message],
        }
        if saga.status is SagaStatus.COMPLETED:
            confirmed = saga.outputs.get("CONFIRM_BOOKING") or {}
            return {"success": True, "booking_reference": confirmed.get("booking_reference"), **common}
        return {
            "success": False,
            "failed_step": saga.failure.step if saga.failure else None,
            "error": self._error(),
            "compensation_result": self._compensations(),
            **common,
        }

    def _error(self) -> str:
        if self.saga.finished and self.saga.failure:
            return self.saga.failure.reason
        why = self.saga.parked_reason or (self.saga.failure.reason if self.saga.failure else None)
        return f"not finished, it goes on as saga {self.saga.id}" + (f": {why}" if why else "")

    def _compensations(self) -> dict[str, Any]:
        """What was undone, in that order, and what still has to be."""
        undone = [
            event.step
            for event in self.saga.history
            if event.action is Action.UNDO and event.type in {EventType.UNDO_SUCCEEDED, EventType.STEP_SKIPPED}
        ]
        owed = [] if self.saga.finished or not self.saga.failure else self.saga.debts()
        return {
            "total_compensations": len(undone) + len(owed),
            "successful_compensations": len(undone),
            "results": [
                {"step": f"COMPENSATE_{step}", "success": success}
                for steps, success in ((undone, True), (owed, False))
                for step in steps
            ],
        }


def refused_booking(correlation_id: str, error: str) -> dict[str, Any]:
    """What a booking is answered with that could not begin: nothing was called, nothing is undone."""
    return {
        "success": False,
        "correlation_id": correlation_id,
        "failed_step": None,
        "error": error,
        "steps_completed": 0,
        "total_steps": len(BOOKING.steps),
        "compensation_result": {"total_compensations": 0, "successful_compensations": 0, "results": []},
        "saga_id": None,
        "status": None,
        "saga_log": [],
    }
