"""What every way of starting a saga shares: how long the client waits, its idempotency key, what it is answered."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from django.conf import settings
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from application.fault_scenario import fault_in_mark
from application.ports import IdempotentRequest
from application.saga_orchestrator import StartRequest
from domain.entities import Saga
from domain.events import SagaStatus
from interfaces.correlation import traceparent
from interfaces.platform import engine
from interfaces.rates import limit_rate

DEFAULT_WAIT = 25.0
"""Seconds; the engine waits less where a call of the workflow may take so long that the gateway would give up first."""

_WAIT = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,9})(?:$|[,;\s])", re.IGNORECASE)
_ASYNC = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def start_saga(
    request: Request, workflow: str, given: Any, correlation_id: str | None = None, version: int | None = None
) -> Saga:
    """Start the workflow for this HTTP request, and drive it for as long as the client waits.

    Raises Throttled for a caller that asks too often, and ValidationError for a fault that no step can be told.
    """
    limit_rate(request, workflow)
    correlation_id = correlation_id or request.correlation_id
    _check_mark(correlation_id, workflow, version)
    return engine().start(
        StartRequest(
            workflow=workflow,
            version=version,
            input=given,
            correlation_id=correlation_id,
            actor=request.user.name,
            tenant=request.user.name,  # two callers that choose the same idempotency key must not meet
            idempotency=idempotency(request, workflow, version, given),
            traceparent=traceparent(),
            wait=wait_budget(request.headers.get("Prefer", "")),
        )
    )


def _check_mark(correlation_id: str, workflow: str, version: int | None) -> None:
    """Where sagas may be told to fail, one that is told what it cannot is not started. Raises ValidationError."""
    if not settings.SAGA_ORCHESTRATOR_CONFIG["FAULT_INJECTION"] or ":fail=" not in correlation_id:
        return
    definitions = engine().definitions
    definition = definitions.version(workflow, version) if version else definitions.newest(workflow)
    if fault := fault_in_mark(correlation_id, [step.name for step in definition.steps]):
        raise ValidationError({"correlation_id": [fault]})


def answer(saga: Saga, body: Mapping[str, Any], location: str) -> Response:
    """The answer to a start: the saga itself, with the status that says how it ended, or 202 and where to look."""
    status = status_code(saga)
    headers = {"Location": location}
    if status == 202:  # noqa: PLR2004
        headers["Retry-After"] = "30" if saga.resting else "1"
    return Response(body, status=status, headers=headers)


def status_code(saga: Saga) -> int:
    """201 completed; 409 refused and undone; 504 out of time and undone; 502 failed and undone; 202 not finished."""
    if not saga.finished:
        return 202
    if saga.status is SagaStatus.COMPLETED:
        return 201
    assert saga.failure is not None, "a saga that was undone has a reason"
    return {"rejected": 409, "operator": 409, "deadline": 504}.get(saga.failure.outcome, 502)


def wait_budget(prefer: str) -> float:
    """Seconds that a client wants to wait, from `Prefer` (RFC 7240); what is not understood there is ignored.

    `respond-async, wait=5` waits: together they ask for a 202 only after that time (RFC 7240, 4.3).
    """
    found = _WAIT.search(prefer)
    if found:
        return float(found[1])
    return 0.0 if _ASYNC.search(prefer) else DEFAULT_WAIT


def idempotency(request: Request, workflow: str, version: int | None, given: Any) -> IdempotentRequest | None:
    """The request's Idempotency-Key with the hash of what it asks for. Raises ValidationError for one that is wrong."""
    key = request.headers.get("Idempotency-Key")
    return None if key is None else under_key(key, workflow, version, given)


def under_key(key: str, workflow: str, version: int | None, given: Any) -> IdempotentRequest:
    """The key with the hash of what is asked for under it. Raises ValidationError for a key that is wrong."""
    if not _KEY.fullmatch(key):
        raise ValidationError({"Idempotency-Key": ["must be 1 to 255 visible ASCII characters"]})
    content = msgspec.json.encode([workflow, version, given], order="deterministic")
    return IdempotentRequest(key, hashlib.sha256(content).digest())
