"""order_processing: a food order. Create it, take the payment, confirm it.

The client sends the body of each step; the order's number in the later ones is replaced by the one that the order
service gave. Created things are undone by their number, so a call without an answer is inquired after first. The
confirmation needs no inquiry: it is undone by the number of the order that was created before it, and cancelling an
order twice is cancelling it once.
"""

from dataclasses import dataclass
from typing import Any

from domain.definition import Request, SagaDefinition, Step
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.outcomes import Unknown

_NUMBER = {"type": "integer", "minimum": 1}
_MONEY = {"type": "number", "minimum": 0}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
_ID = "${[response.id][?type(@) == 'number' || (type(@) == 'string' && @ != '')] | [0]}"
"""A number or a text: an id of another kind could not stand in the undo's path, so the answer is unreadable."""
_CANCEL = Request(
    service="orders",
    method="POST",
    path="/orders/${steps.create_order.id}/compensate",
    body={"undo_of": "${saga.do_key}"},
)

ORDER_BODY = {
    "type": "object",
    "required": ["customer_id", "restaurant_id", "total_amount", "items"],
    "properties": {
        "customer_id": _NUMBER,
        "restaurant_id": _NUMBER,
        "total_amount": _MONEY,
        "delivery_address": _TEXT,
        "delivery_latitude": {"type": "number", "minimum": -90, "maximum": 90},
        "delivery_longitude": {"type": "number", "minimum": -180, "maximum": 180},
        "status": _TEXT,
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 200,
            "items": {
                "type": "object",
                "required": ["menu_item_id", "quantity", "price"],
                "properties": {"menu_item_id": _NUMBER, "quantity": _NUMBER, "price": _MONEY},
            },
        },
    },
}
PAYMENT_BODY = {
    "type": "object",
    "required": ["amount", "payment_method"],
    "properties": {"order_id": {"type": "integer"}, "amount": _MONEY, "payment_method": _TEXT, "status": _TEXT},
}
CONFIRMATION_BODY = {"type": "object", "properties": {"order_id": {"type": "integer"}}}

ORDER_PROCESSING = SagaDefinition(
    name="order_processing",
    version=2,  # 2 can be found by its ids, and masks personal data
    title="Food order",
    input_schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["entity_id", "step_data"],
        "properties": {
            "entity_id": {"type": "integer"},
            "step_data": {
                "type": "array",
                "minItems": 3,
                "maxItems": 3,
                "prefixItems": [ORDER_BODY, PAYMENT_BODY, CONFIRMATION_BODY],
            },
        },
    },
    masked=("delivery_latitude", "delivery_longitude"),
    business_ids={
        "entity_id": "${input.entity_id}",
        "customer_id": "${input.step_data[0].customer_id}",
        "order_id": "${steps.create_order.id}",
        "payment_id": "${steps.process_payment.id}",
    },
    initial_state="PENDING",
    completed_state="COMPLETED",
    compensating_state="COMPENSATING",
    compensated_state="COMPENSATED",
    failed_state="FAILED",
    steps=(
        Step(
            name="create_order",
            running_state="CREATING_ORDER",
            done_state="ORDER_CREATED",
            failed_state="ORDER_CREATION_FAILED",
            action=Request(service="orders", method="POST", path="/orders", body="${input.step_data[0]}"),
            inquiry=Request(service="orders", method="GET", path="/orders/outcome", query={"key": "${saga.do_key}"}),
            compensation=_CANCEL,
            output={"id": _ID},
        ),
        Step(
            name="process_payment",
            running_state="PROCESSING_PAYMENT",
            done_state="PAYMENT_PROCESSED",
            failed_state="PAYMENT_FAILED",
            action=Request(
                service="payments",
                method="POST",
                path="/payments",
                body="${merge(input.step_data[1], {order_id: steps.create_order.id})}",
            ),
            inquiry=Request(
                service="payments", method="GET", path="/payments/outcome", query={"key": "${saga.do_key}"}
            ),
            compensation=Request(
                service="payments",
                method="POST",
                path="/payments/${steps.process_payment.id}/compensate",
                body={"undo_of": "${saga.do_key}"},
            ),
            output={"id": _ID},
        ),
        Step(
            name="confirm_order",
            running_state="CONFIRMING_ORDER",
            done_state="ORDER_CONFIRMED",
            failed_state="CONFIRMATION_FAILED",
            action=Request(
                service="orders",
                method="POST",
                path="/orders/${steps.create_order.id}/confirm",
                body="${merge(input.step_data[2], {order_id: steps.create_order.id})}",
            ),
            compensation=_CANCEL,
            output={"status": "${response.status}"},
        ),
    ),
)

DEFINITIONS = (ORDER_PROCESSING,)


@dataclass(frozen=True, slots=True)
class FoodOrder:
    """A saga read as a food order."""

    saga: Saga

    @property
    def entity_id(self) -> int:
        """What the client calls the order."""
        return int(self.saga.origin.input["entity_id"])

    @property
    def error(self) -> str | None:
        """Why it did not, or does not, go through; None while all is well."""
        failure = self.saga.failure
        return self.saga.parked_reason or (f"{failure.step}: {failure.reason}" if failure else None)

    @property
    def current_step(self) -> str | None:
        """The step whose call is due or on its way, or at which it is held; None when it has ended."""
        if self.saga.finished:
            return None
        waiting, owed = self.saga.waiting(), self.saga.debts()
        if waiting:
            return waiting[0].step
        return owed[0] if owed else next((step["name"] for step in self.steps() if step["status"] != "COMPLETED"), None)

    def steps(self) -> list[dict[str, Any]]:
        """`name, status, attempts, error` of each step, in order; `attempts` counts the calls that do it."""
        known = {
            step.name: {"name": step.name, "status": "PENDING", "attempts": 0, "error": None}
            for step in self.saga.definition.steps
        }
        for event in self.saga.history:
            if event.step:
                _tell(known[event.step], event)
        return list(known.values())

    def as_dict(self) -> dict[str, Any]:
        """The published status; times are datetimes in UTC."""
        saga = self.saga
        return {
            "saga_id": saga.id,
            "saga_type": saga.definition.name,
            "entity_id": self.entity_id,
            "status": saga.status,
            "state": saga.state,
            "current_step": self.current_step,
            "error": self.error,
            "steps": self.steps(),
            "created_at": saga.origin.started_at,
            "finished_at": saga.finished_at,
        }

    @property
    def succeeded(self) -> bool:
        """Whether the order is placed, paid and confirmed."""
        return self.saga.status is SagaStatus.COMPLETED


_DONE = {Action.DO: "COMPLETED", Action.UNDO: "COMPENSATED"}
_BEGUN = {Action.DO: "RUNNING", Action.UNDO: "COMPENSATING"}
_GIVEN_UP = {Action.DO: "FAILED", Action.UNDO: "COMPENSATION_FAILED"}
_FINDINGS = {"done": "COMPLETED", "not_done": "FAILED"}


def _tell(step: dict[str, Any], event: SagaEvent) -> None:
    """What this event says about its step."""
    action, kind = event.action, event.type
    if kind is EventType.INQUIRY_ANSWERED and event.outcome:
        step["status"] = _FINDINGS[event.outcome]
    if action not in _DONE:
        return
    if kind is EventType.ATTEMPT_SCHEDULED:
        step["status"], step["attempts"] = _BEGUN[action], step["attempts"] + (action is Action.DO)
    elif kind is EventType.ATTEMPT_FAILED:
        step["error"] = event.reason
        if event.due_at is None:
            perhaps = action is Action.DO and event.outcome == Unknown.kind
            step["status"] = "UNKNOWN" if perhaps else _GIVEN_UP[action]
    elif kind in {EventType.STEP_SUCCEEDED, EventType.UNDO_SUCCEEDED, EventType.STEP_SKIPPED}:
        step["status"] = _DONE[action]
