"""The partners' API, `/api/v1/saga/`: partner creation in the words that its users know, always asynchronous."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from application.correlation import RULE, acceptable
from application.queries import SagaFilter
from application.saga_orchestrator import StartRequest
from domain.entities import Saga
from domain.exceptions import SagaNotFound
from domain.workflows.partner_creation import PARTNER_CREATION
from interfaces import documentation as docs
from interfaces.callers import CLIENT, READER
from interfaces.correlation import traceparent
from interfaces.platform import engine, platform
from interfaces.starting import idempotency

LONGEST_LIST = 200


def with_partner_words(body: dict[str, Any]) -> dict[str, Any]:
    """A problem with the members that this API's users read: `error`, `codigo`, `saga_id`, `timestamp`."""
    named = "; ".join(f"{field}: {', '.join(faults)}" for field, faults in body.get("errors", {}).items())
    return {
        **body,
        "error": f"{body['detail']} {named}".strip(),
        "codigo": body["code"].upper(),
        "saga_id": body.get("saga_id"),
        "timestamp": datetime.now(UTC),
    }


class PartnerCreationView(APIView):
    """Start the creation of a partner."""

    roles = {"POST": (CLIENT,)}
    problem_words = staticmethod(with_partner_words)

    @docs.partner_start
    def post(self, request: Request) -> Response:
        """Start it; a worker drives it."""
        if not isinstance(request.data, dict):
            raise ValidationError({"body": ["must be an object"]})
        given = dict(request.data)
        correlation = given.pop("correlation_id", None)
        if correlation is not None and not (isinstance(correlation, str) and acceptable(correlation)):
            raise ValidationError({"correlation_id": [RULE]})
        saga = engine().start(
            StartRequest(
                workflow=PARTNER_CREATION.name,
                input=given,
                correlation_id=correlation or request.correlation_id,
                actor=request.user.name,
                tenant=request.user.name,
                idempotency=idempotency(request, PARTNER_CREATION.name, None, given),
                traceparent=traceparent(),
                wait=0,
            )
        )
        body = {
            "mensaje": "Partner creation saga started successfully",
            "saga_id": saga.id,
            "correlation_id": saga.origin.correlation_id,
            "status": "started",
        }
        return Response(body, status=202, headers={"Location": f"/api/v1/saga/status/{saga.id}", "Retry-After": "1"})


class PartnerStatusView(APIView):
    """One partner's creation."""

    roles = {"GET": (CLIENT, READER)}
    problem_words = staticmethod(with_partner_words)

    @docs.partner_status
    def get(self, request: Request, saga_id: UUID) -> Response:  # noqa: ARG002 - DRF's signature
        """Show how far it is."""
        saga = engine().store.load(saga_id)
        if saga.definition.name != PARTNER_CREATION.name:
            raise SagaNotFound(f"saga {saga_id} is not the creation of a partner")
        return Response({"saga": _partner(saga)})


class PartnersActiveView(APIView):
    """The creations under way."""

    roles = {"GET": (READER,)}
    problem_words = staticmethod(with_partner_words)

    @docs.partners_active
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """List those that are not finished, the newest 200."""
        chosen = SagaFilter(workflow=PARTNER_CREATION.name, active=True)
        rows = platform().queries.sagas(chosen, LONGEST_LIST)
        sagas = [
            {
                "saga_id": row["id"],
                "status": row["state"],
                "correlation_id": row["correlation_id"],
                "created_at": row["created_at"],
                "updated_at": row["updated_at"],
            }
            for row in rows
        ]
        return Response({"sagas": sagas, "total": platform().queries.count(chosen)})


def _partner(saga: Saga) -> dict[str, Any]:
    partner, alliance = (saga.outputs.get(step) or {} for step in ("create_partner", "create_alliance"))
    return {
        "saga_id": saga.id,
        "status": saga.state,
        "partner_id": partner.get("partner_id"),
        "alliance_id": alliance.get("alliance_id"),
        "correlation_id": saga.origin.correlation_id,
        "error": saga.failure.reason if saga.failure else None,
        "created_at": saga.origin.started_at,
        "completed_at": saga.finished_at,
    }
