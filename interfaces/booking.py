"""Flight bookings from Python, in the words and shapes that their callers know (docs/booking.md)."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import InterfaceError, OperationalError

from application.fault_scenario import FaultInjectionOff, FaultScenario
from application.saga_orchestrator import StartRequest
from domain.entities import Saga
from domain.exceptions import InputInvalid, SagaError, StoreUnavailable, WorkflowUnknown
from domain.workflows.booking import BOOKING, BookingSaga, refused_booking
from interfaces.correlation import traceparent
from interfaces.platform import engine, platform
from interfaces.wire import fields_as_json

SECONDS_TO_WAIT = 25.0
STEPS = {step.name.lower(): step.name for step in BOOKING.steps}
"""Each step by the name that `failure_scenarios` gives it."""


class BookingSAGAOrchestrator:
    """Books flights."""

    def start_booking_saga(
        self, booking_data: Mapping[str, Any], failure_scenarios: Mapping[str, bool] | None = None
    ) -> dict[str, Any]:
        """Book a flight, or undo what was done for it; waits up to 25 seconds for the end.

        Of `failure_scenarios`, `{"process_payment": True}`, the first step that is true is refused. Raises
        FaultInjectionOff where sagas may not be told to fail, and ValueError for a step that there is not. Whatever
        else goes wrong is in the result: `success`, `error`, `failed_step`, `compensation_result`, ...
        """
        correlation_id = f"{uuid4()}{_scenario(failure_scenarios or {}).mark()}"
        try:
            saga = _finished(_started(StartRequest(
                workflow=BOOKING.name,
                input=fields_as_json(booking_data),
                correlation_id=correlation_id,
                actor="booking",
                traceparent=traceparent(),
                wait=SECONDS_TO_WAIT,
            )))  # fmt: skip
        except InputInvalid as error:
            faults = (f"{field} {fault}" for field, found in error.faults.items() for fault in found)
            return refused_booking(correlation_id, "; ".join(faults))
        except (OperationalError, InterfaceError):
            return refused_booking(correlation_id, str(StoreUnavailable()))
        except SagaError as error:
            return refused_booking(correlation_id, str(error))
        return BookingSaga(saga).result()


class BookingSAGAService:
    """Bookings for a Django user."""

    def create_booking_saga(
        self,
        *,
        user: Any,
        flight_ids: Sequence[int],
        flight_dates: Sequence[str],
        passenger_data: Sequence[Mapping[str, Any]],
        seat_class: str,
        total_fare: float | Decimal,
        loyalty_points_to_use: int = 0,
        payment_method: str = "card",
        failure_scenarios: Mapping[str, bool] | None = None,
    ) -> dict[str, Any]:
        """Book one flight on one date for a user (a model with an `id`, or the id); the result is the orchestrator's.

        A booking is for one flight: several, or none, are refused in the result's `error`.
        """
        if len(flight_ids) != 1 or len(flight_dates) > 1:
            many = f"{len(flight_ids)} flights and {len(flight_dates)} dates were given"
            return refused_booking(str(uuid4()), f"a booking is for one flight on one date; {many}")
        booking_data = {
            "flight_id": flight_ids[0],
            "flight_date": str(flight_dates[0]) if flight_dates else None,
            "user_id": getattr(user, "id", user),
            "passengers": passenger_data,
            "seat_class": seat_class,
            "total_fare": total_fare,
            "loyalty_points_to_use": loyalty_points_to_use,
            "payment_method": payment_method,
        }
        said = {name: value for name, value in booking_data.items() if value is not None}
        return BookingSAGAOrchestrator().start_booking_saga(said, failure_scenarios)


booking_saga_service = BookingSAGAService()


def _scenario(failure_scenarios: Mapping[str, bool]) -> FaultScenario:
    unknown = sorted(set(failure_scenarios) - set(STEPS))
    if unknown:
        raise ValueError(f"failure_scenarios: there is no step {unknown[0]!r}; there is {', '.join(STEPS)}")
    chosen = [name for step, name in STEPS.items() if failure_scenarios.get(step)]
    if not chosen:
        return FaultScenario()
    if not settings.SAGA_ORCHESTRATOR_CONFIG["FAULT_INJECTION"]:
        raise FaultInjectionOff
    return FaultScenario(step=chosen[0])  # no later step is reached


def _started(request: StartRequest) -> Saga:
    try:
        return engine().start(request)
    except WorkflowUnknown:  # the first saga of a new database, started from a shell
        platform().prepare()
        return engine().start(request)


def _finished(saga: Saga) -> Saga:
    """The saga once it rests: a worker may be driving it by now."""
    until = saga.origin.started_at + timedelta(seconds=SECONDS_TO_WAIT)
    return saga if saga.resting else engine().follow(saga.id, until)
