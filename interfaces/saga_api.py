"""The engine's own API, `/api/sagas/`: any workflow, in the engine's words."""

from typing import Any
from uuid import UUID

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from application.correlation import RULE, acceptable
from interfaces import documentation as docs
from interfaces.callers import CLIENT, READER
from interfaces.listing import page_of_events, page_of_sagas, statistics
from interfaces.platform import engine
from interfaces.presentation import saga_json, seen_json
from interfaces.starting import answer, start_saga


class StartView(APIView):
    """Start a saga of any workflow."""

    roles = {"POST": (CLIENT,)}

    @docs.start
    def post(self, request: Request) -> Response:
        """Start a saga."""
        asked = _start_fields(request.data)
        saga = start_saga(request, asked["workflow"], asked["input"], asked["correlation_id"], asked["version"])
        return answer(saga, saga_json(saga), f"/api/sagas/transactions/{saga.id}/")


class SagaListView(APIView):
    """All sagas."""

    roles = {"GET": (READER,)}

    @docs.saga_list
    def get(self, request: Request) -> Response:
        """List sagas."""
        return Response(page_of_sagas(request.query_params))


class SagaView(APIView):
    """One saga."""

    roles = {"GET": (CLIENT, READER)}

    @docs.saga_detail
    def get(self, request: Request, saga_id: UUID) -> Response:  # noqa: ARG002 - DRF's signature
        """Show one saga."""
        return Response(seen_json(engine().store.look(saga_id), engine().clock.now()))


class SagaEventsView(APIView):
    """One saga's history."""

    roles = {"GET": (CLIENT, READER)}

    @docs.saga_events
    def get(self, request: Request, saga_id: UUID) -> Response:
        """Show one saga's history."""
        page = page_of_events(request.query_params, saga_id)
        if not page["results"]:
            engine().store.load(saga_id)  # an unknown saga is a 404, not an empty history
        return Response(page)


class EventsView(APIView):
    """All events."""

    roles = {"GET": (READER,)}

    @docs.events
    def get(self, request: Request) -> Response:
        """List events."""
        return Response(page_of_events(request.query_params))


class StatisticsView(APIView):
    """Counts."""

    roles = {"GET": (READER,)}

    @docs.statistics
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Count sagas."""
        return Response(statistics())


def _start_fields(data: Any) -> dict[str, Any]:
    """`workflow` (or `saga_type`), `input`, `version`, `correlation_id`. Raises ValidationError, field by field."""
    if not isinstance(data, dict):
        raise ValidationError({"body": ["must be an object"]})
    given = dict(data)
    alias = given.pop("saga_type", None)
    asked = {"version": None, "correlation_id": None, "input": {}, "workflow": alias, **given}
    faults: dict[str, list[str]] = {
        name: ["is not a field; there is workflow, input, version, correlation_id"]
        for name in set(asked) - {"version", "correlation_id", "input", "workflow"}
    }
    if not isinstance(asked["workflow"], str) or not asked["workflow"]:
        faults["workflow"] = ["is required: the name of a workflow; GET /api/sagas/definitions/ lists them"]
    if asked["version"] is not None and (type(asked["version"]) is not int or asked["version"] < 1):
        faults["version"] = ["must be a whole number from 1"]
    if not isinstance(asked["input"], dict):
        faults["input"] = ["must be an object"]
    correlation = asked["correlation_id"]
    if correlation is not None and not (isinstance(correlation, str) and acceptable(correlation)):
        faults["correlation_id"] = [RULE]
    if faults:
        raise ValidationError(faults)
    return asked
