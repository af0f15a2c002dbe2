"""What the worker does: take over the sagas that are due and that nobody drives, and drive them on."""

from collections.abc import Callable
from datetime import UTC, datetime

from application.ports import Claimed, Lease
from application.saga_orchestrator import SagaOrchestrator
from domain.exceptions import LeaseLost


def claim_due(engine: SagaOrchestrator, limit: int) -> tuple[Lease, list[Claimed]]:
    """Own up to `limit` due sagas: whose lease has expired, whose retry is due, or that were never begun."""
    now = engine.clock.now()
    lease = engine.new_lease(now)
    return lease, engine.store.claim(lease, now, limit)


def drive(
    engine: SagaOrchestrator, claimed: Claimed, lease: Lease, stopping: Callable[[], bool] = lambda: False
) -> bool:
    """Drive a claimed saga as far as it goes without waiting, or until `stopping`, and hand it back.

    False when another driver took it over meanwhile.
    """
    saga, now = claimed.saga, engine.clock.now()
    try:
        if claimed.abandoned:
            # Crash before this checkpoint: the lease expires again, and the next driver says the same. Crash after
            # it: what was due is known to have perhaps gone out, and stays so for every driver to come.
            engine.checkpoint(saga, saga.take_over(now, lease.owner), lease, now)
        engine.advance(saga, lease, until=datetime.max.replace(tzinfo=UTC), longest_wait=0, stopping=stopping)
    except LeaseLost:
        return False
    return True
