"""What is told of a saga once it is stored: its metrics and its log lines."""

import logging
from collections.abc import Sequence

from application.trace_context import joined, span_of
from domain.entities import Saga
from domain.events import EventType, SagaEvent
from infrastructure import metrics

logger = logging.getLogger("saga")

_LEVELS = {
    EventType.SAGA_COMPLETED: logging.INFO,
    EventType.SAGA_FAILED: logging.INFO,
    EventType.SAGA_COMPENSATED: logging.INFO,
    EventType.COMPENSATION_STARTED: logging.INFO,
    EventType.DEADLINE_PASSED: logging.WARNING,
    EventType.ATTEMPT_FAILED: logging.WARNING,
    EventType.STEP_FAILED: logging.WARNING,
    EventType.SAGA_PARKED: logging.ERROR,
}
"""What an operator reads without asking; the rest is there at DEBUG. A saga that goes well is one line, its last, which
has its duration; until then the database is what knows of it."""
_ENDS = {EventType.SAGA_COMPLETED, EventType.SAGA_COMPENSATED, EventType.SAGA_FAILED}


def observe(saga: Saga, events: Sequence[SagaEvent]) -> None:
    """Count and log events that are now stored."""
    metrics.observe_events(saga, events)
    for event in events:
        level = _LEVELS.get(event.type, logging.DEBUG)
        if logger.isEnabledFor(level):
            logger.log(level, event.type.value, extra=_fields(saga, event))


def _fields(saga: Saga, event: SagaEvent) -> dict[str, object]:
    fields: dict[str, object] = joined(saga)
    fields["span_id"] = span_of(saga, event)
    fields["workflow"], fields["status"], fields["state"] = saga.definition.name, event.status, event.state
    about_call = {
        "step": event.step,
        "item": event.item,
        "action": event.action,
        "attempt": event.attempt,
        "outcome": event.outcome,
        "reason": event.reason,
        "service": event.service,
        "http_status": event.http_status,
    }
    fields |= {name: value for name, value in about_call.items() if value is not None}
    if event.type in _ENDS:
        fields["duration"] = (event.at - saga.origin.started_at).total_seconds()
    return fields
