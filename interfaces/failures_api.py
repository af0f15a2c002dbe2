"""Trouble in groups, and remedies for whole groups."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from application.bulk import Bulk
from domain.events import Action
from domain.exceptions import NotAllowed
from interfaces import documentation as docs
from interfaces.callers import OPERATOR, READER
from interfaces.operations_api import Body
from interfaces.platform import engine, platform

MOST_GROUPS, MOST_BULKS, MOST_REFUSALS, MOST_UNSENT = 200, 50, 100, 100


class FailuresView(APIView):
    """Live sagas in trouble, by what is wrong."""

    roles = {"GET": (READER,)}

    @docs.failures
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Group the trouble; beside it the messages that no broker would take, whose sagas may have ended."""
        groups, aside = platform().bulk.failures(MOST_GROUPS), platform().outbox.refused(MOST_UNSENT)
        return Response({"results": [asdict(each) for each in groups], "unsent": [asdict(each) for each in aside]})


class RetryGroupView(APIView):
    """Retry all sagas of a group."""

    roles = {"POST": (OPERATOR,)}

    @docs.retry_group
    def post(self, request: Request, group: str) -> Response:
        """Retry them, so many a second."""
        return _begun(request, group, "retry")


class CompensateGroupView(APIView):
    """Undo all sagas of a group."""

    roles = {"POST": (OPERATOR,)}

    @docs.compensate_group
    def post(self, request: Request, group: str) -> Response:
        """Turn them back, so many a second."""
        return _begun(request, group, "compensate")


class BulkListView(APIView):
    """The remedies."""

    roles = {"GET": (READER,)}

    @docs.bulk_list
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """List them, newest first."""
        return Response({"results": [_bulk_json(bulk) for bulk in platform().bulk.recent(MOST_BULKS)]})


class BulkView(APIView):
    """One remedy."""

    roles = {"GET": (READER,)}

    @docs.bulk_detail
    def get(self, request: Request, bulk_id: UUID) -> Response:  # noqa: ARG002 - DRF's signature
        """Show how far it has come."""
        refusals = platform().bulk.refusals(bulk_id, MOST_REFUSALS)
        refused = [{"saga_id": saga_id, "detail": why} for saga_id, why in refusals]
        return Response({**_bulk_json(_known(bulk_id)), "refusals": refused})


class CancelBulkView(APIView):
    """Stop a remedy."""

    roles = {"POST": (OPERATOR,)}

    @docs.bulk_cancel
    def post(self, request: Request, bulk_id: UUID) -> Response:
        """Do it to no more sagas; what it was done to stays."""
        _known(bulk_id)
        platform().bulk.cancel(bulk_id, request.user.name, engine().clock.now())
        return Response(_bulk_json(_known(bulk_id)))


def _begun(request: Request, group: str, verb: str) -> Response:
    asked = Body(request, ("per_second", "expected_sagas"))
    reason, per_second, preview = asked.reason(), asked.per_second(), asked.preview()
    at_most = asked.number("expected_sagas")
    asked.finish()
    found = platform().bulk.group(group)
    if found is None:
        raise _no_group(group)
    if verb == "compensate" and found.action == Action.UNDO:
        raise NotAllowed("The sagas of this group are undoing already. Retry them, or skip or resolve each by itself.")
    if preview:
        return Response({"preview": True, "verb": verb, "sagas": found.sagas, "seconds": found.sagas / per_second})
    bulk_id = engine().new_id()
    bulk = platform().bulk.begin(
        Bulk(
            id=bulk_id,
            group=group,
            verb=verb,
            reason=reason,
            actor=request.user.name,
            per_second=per_second,
            created_at=engine().clock.now(),
        ),
        at_most,
    )
    if bulk is None:
        raise _no_group(group)
    if bulk.id != bulk_id:
        raise NotAllowed(f"The same is being done already, by {bulk.actor}: /api/sagas/bulk/{bulk.id}/")
    return Response(_bulk_json(bulk), status=202, headers={"Location": f"/api/sagas/bulk/{bulk.id}/"})


def _no_group(group: str) -> NotFound:
    return NotFound(f"No live saga is in trouble of the kind {group!r} now; GET /api/sagas/failures/ lists the groups.")


def _known(bulk_id: UUID) -> Bulk:
    bulk = platform().bulk.load(bulk_id)
    if bulk is None:
        raise NotFound(f"There is no bulk remedy {bulk_id}.")
    return bulk


def _bulk_json(bulk: Bulk) -> dict[str, Any]:
    status = "cancelled" if bulk.cancelled else "finished" if bulk.finished_at else "running"
    return {
        **{name: value for name, value in asdict(bulk).items() if name != "cancelled"},
        "status": status,
        "waiting": bulk.total - bulk.done - bulk.refused,
    }
