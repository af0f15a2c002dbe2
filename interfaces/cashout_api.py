"""The bettors' API, `/api/sagas/cashout/`: the cash-out workflow in the words that its users know."""

from typing import Any
from uuid import UUID

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from domain.entities import Saga
from domain.operations import By
from domain.workflows.cashout import ANY_BOOKMAKER, CASHOUT, CashoutSaga
from interfaces import cashout
from interfaces import documentation as docs
from interfaces.callers import CLIENT, OPERATOR, READER
from interfaces.listing import page_of_sagas
from interfaces.rates import limit_rate
from interfaces.starting import answer, start_saga, wait_budget

LONGEST_REASON = 500
STEPS = [step.name for step in CASHOUT.steps]


class StartView(APIView):
    """Start a cash-out."""

    roles = {"POST": (CLIENT,)}

    @docs.cashout_start
    def post(self, request: Request) -> Response:
        """Start a cash-out."""
        saga = start_saga(request, CASHOUT.name, request.data)
        return answer(saga, _shown(saga), _location(saga))


class RollbackView(APIView):
    """Undo a cash-out."""

    roles = {"POST": (OPERATOR,)}

    @docs.cashout_rollback
    def post(self, request: Request) -> Response:
        """Undo everything that it did, in reverse order."""
        limit_rate(request, CASHOUT.name)
        asked = _Asked(request, "saga_transaction_id", "reason")
        saga_id, reason = asked.saga_id(), asked.reason()
        asked.finish()
        return _settled(cashout.roll_back(saga_id, By(actor=request.user.name, reason=reason), _wait(request)))


class RetryView(APIView):
    """Try a step again."""

    roles = {"POST": (OPERATOR,)}

    @docs.cashout_retry
    def post(self, request: Request, saga_id: UUID, step: str) -> Response:
        """Try the step again at which the cash-out stands."""
        limit_rate(request, CASHOUT.name)
        if step not in STEPS:
            raise NotFound(f"A cash-out has no step {step!r}; it has {', '.join(STEPS)}.")
        asked = _Asked(request, "reason")
        reason = asked.reason(f"retry of {step}")
        asked.finish()
        return _settled(cashout.retry(saga_id, step, By(actor=request.user.name, reason=reason), _wait(request)))


class StatusView(APIView):
    """One cash-out."""

    roles = {"GET": (CLIENT, READER)}

    @docs.cashout_status
    def get(self, request: Request, saga_id: UUID) -> Response:  # noqa: ARG002 - DRF's signature
        """Show a cash-out with every step."""
        return Response(_shown(cashout.cashout(saga_id)))


class ListView(APIView):
    """The cash-outs."""

    roles = {"GET": (READER,)}

    @docs.cashout_list
    def get(self, request: Request) -> Response:
        """List cash-outs, newest first."""
        return Response(page_of_sagas(request.query_params, CASHOUT.name, lambda rows: list(map(_summary, rows))))


class _Asked:
    """The body of a verb, with every fault collected."""

    def __init__(self, request: Request, *known: str) -> None:
        if not isinstance(request.data, dict):
            raise ValidationError({"body": ["must be an object"]})
        self._given = request.data
        self._faults = {
            name: [f"is not a field; there is {', '.join(known)}"] for name in self._given if name not in known
        }

    def finish(self) -> None:
        """Raise what was wrong."""
        if self._faults:
            raise ValidationError(self._faults)

    def saga_id(self) -> UUID:
        """Which cash-out."""
        try:
            return UUID(self._given["saga_transaction_id"])
        except (KeyError, ValueError, TypeError, AttributeError):
            self._faults["saga_transaction_id"] = ["is required: the UUID that the start answered"]
            return UUID(int=0)

    def reason(self, default: str | None = None) -> str:
        """Why: kept for ever in the saga's history."""
        value = self._given.get("reason", default)
        if isinstance(value, str) and value.strip() and len(value) <= LONGEST_REASON:
            return value.strip()
        self._faults["reason"] = [f"must say why, in 1 to {LONGEST_REASON} characters"]
        return ""


def _wait(request: Request) -> float:
    return wait_budget(request.headers.get("Prefer", ""))


def _settled(saga: Saga) -> Response:
    """The cash-out after a verb: 200 once it has ended, else 202 and where to look."""
    if saga.finished:
        return Response(_shown(saga))
    headers = {"Location": _location(saga), "Retry-After": "30" if saga.resting else "1"}
    return Response(_shown(saga), status=202, headers=headers)


def _location(saga: Saga) -> str:
    return f"/api/sagas/cashout/status/{saga.id}/"


def _shown(saga: Saga) -> dict[str, Any]:
    return CashoutSaga(saga).as_dict()


def _summary(row: dict[str, Any]) -> dict[str, Any]:
    error = row["error"] or {}
    return {
        "saga_transaction_id": row["id"],
        "saga_type": row["workflow"],
        **{name: row[name] for name in ("correlation_id", "status", "state")},
        **ANY_BOOKMAKER,
        **row["data"]["input"],
        "error": error.get("reason"),
        "failed_step": error.get("step"),
        "timeout_at": row["deadline_at"],
        "created_at": row["created_at"],
        "finished_at": row["finished_at"],
    }
