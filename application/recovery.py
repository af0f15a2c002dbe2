"""What the worker does: take over the sagas that are due and that nobody drives, and drive them on."""

from datetime import UTC, datetime

from application.ports import Lease
from application.saga_orchestrator import SagaOrchestrator
from domain.entities import Saga
from domain.exceptions import LeaseLost


def claim_due(engine: SagaOrchestrator, limit: int) -> tuple[Lease, list[Saga]]:
    """Own up to `limit` due sagas: whose lease has expired, whose retry is due, or that were never begun."""
    now = engine.clock.now()
    lease = engine.new_lease(now)
    return lease, engine.store.claim(lease, now, limit)


def drive(engine: SagaOrchestrator, saga: Saga, lease: Lease) -> bool:
    """Drive a claimed saga as far as it goes without waiting. False when another driver took it over meanwhile."""
    no_end = datetime.max.replace(tzinfo=UTC)
    try:
        engine.advance(saga, lease, until=no_end, longest_wait=0)
    except LeaseLost:
        return False
    return True
