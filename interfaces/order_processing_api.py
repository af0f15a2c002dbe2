"""The food orders' API, `/sagas/`: the order_processing workflow in the words that its users know."""

from typing import Any
from uuid import UUID

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from domain.entities import Saga
from domain.events import SagaStatus
from domain.exceptions import InputInvalid, SagaNotFound
from domain.operations import By
from domain.workflows.order_processing import ORDER_PROCESSING, FoodOrder
from interfaces import documentation as docs
from interfaces.callers import CLIENT, OPERATOR, READER
from interfaces.operations_api import LONGEST_REASON
from interfaces.platform import engine, platform
from interfaces.starting import answer, start_saga

FIELDS = ("saga_type", "entity_id", "step_data")
NO_REASON = "asked for at /sagas/{id}/compensate"


class FoodStartView(APIView):
    """Start a food order."""

    roles = {"POST": (CLIENT,)}

    @docs.food_start
    def post(self, request: Request) -> Response:
        """Start a food order, and wait for its end."""
        saga = start_saga(request, ORDER_PROCESSING.name, _asked(request.data))
        succeeded = FoodOrder(saga).succeeded
        return answer(saga, _result(saga, success=succeeded), _location(saga))


class FoodStatusView(APIView):
    """One food order."""

    roles = {"GET": (CLIENT, READER)}

    @docs.food_status
    def get(self, request: Request, saga_id: UUID) -> Response:  # noqa: ARG002 - DRF's signature
        """Show how a food order stands."""
        return Response(FoodOrder(_food_order(saga_id)).as_dict())


class FoodCompensateView(APIView):
    """Take a food order back."""

    roles = {"POST": (OPERATOR,)}

    @docs.food_compensate
    def post(self, request: Request, saga_id: UUID) -> Response:
        """Turn back and undo; the undoing itself is the worker's."""
        by = By(actor=request.user.name, reason=_reason(request.data))
        _food_order(saga_id)
        saga = platform().operations.act(saga_id, Saga.compensate, by)
        body = _result(saga, success=saga.status is not SagaStatus.STUCK)
        if saga.finished:
            return Response(body)
        return Response(body, status=202, headers={"Location": _location(saga), "Retry-After": "1"})


def _food_order(saga_id: UUID) -> Saga:
    saga = engine().store.load(saga_id)
    if saga.definition.name != ORDER_PROCESSING.name:
        raise SagaNotFound(f"saga {saga_id} is not a food order")
    return saga


def _result(saga: Saga, *, success: bool) -> dict[str, Any]:
    error = FoodOrder(saga).error or f"not finished yet; GET {_location(saga)} tells how it stands"
    return {"success": success, "saga_id": saga.id, "error": None if success else error}


def _location(saga: Saga) -> str:
    return f"/sagas/{saga.id}/status"


def _asked(data: Any) -> dict[str, Any]:
    """The workflow's input. Raises InputInvalid where `saga_type` is wrong too; the input alone is the engine's."""
    if not isinstance(data, dict):
        raise ValidationError({"body": ["must be an object"]})
    given = {name: data[name] for name in ("entity_id", "step_data") if name in data}
    wrong = {name: [f"is not a field; there is {', '.join(FIELDS)}"] for name in data if name not in FIELDS}
    if data.get("saga_type") != ORDER_PROCESSING.name:
        wrong["saga_type"] = [f"must be {ORDER_PROCESSING.name!r}; /api/sagas/start/ starts any workflow"]
    if not wrong:
        return given
    definitions = engine().definitions
    try:
        definitions.check_input(definitions.newest(ORDER_PROCESSING.name), given)
    except InputInvalid as error:
        wrong = {**error.faults, **wrong}
    raise InputInvalid(wrong)


def _reason(data: Any) -> str:
    """Why, for the saga's history; who has no reason to give need not send a body."""
    if not isinstance(data, dict):
        raise ValidationError({"body": ["must be an object"]})
    faults = {name: ["is not a field; there is reason"] for name in data if name != "reason"}
    reason = data.get("reason", NO_REASON)
    if not isinstance(reason, str) or not reason.strip() or len(reason) > LONGEST_REASON:
        faults["reason"] = [f"must be a text of 1 to {LONGEST_REASON} characters"]
    if faults:
        raise ValidationError(faults)
    return reason.strip()
