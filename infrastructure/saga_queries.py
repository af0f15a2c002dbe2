"""Lists and counts from PostgreSQL; each is one statement."""

from typing import Any
from uuid import UUID

from django.db.models import Count, Q

from application.queries import Counts, EventFilter, SagaFilter
from domain.events import LIVE, SagaStatus
from infrastructure.models import SagaEventRow, SagaRow

_SAGA_COLUMNS = (
    "id", "workflow", "version", "tenant", "correlation_id", "status", "state", "data", "error", "deadline_at",
    "created_at", "updated_at", "finished_at", "wake_at",
)  # fmt: skip
_EVENT_COLUMNS = (
    "saga_id", "seq", "type", "at", "status", "state", "previous_state", "step", "item", "action", "attempt", "outcome",
    "reason", "output", "due_at", "service", "http_method", "http_status", "duration", "actor",
)  # fmt: skip


class PostgresSagaQueries:
    """The `SagaQueries` over Django's connection of the current thread."""

    def sagas(self, chosen: SagaFilter, limit: int) -> list[dict[str, Any]]:
        """See `SagaQueries`."""
        query = Q(**_given(chosen, "workflow", "status", "state", "tenant", "correlation_id"))
        if chosen.status:
            # Says the same once more, in the words of the partial indexes.
            query &= Q(finished_at__isnull=SagaStatus(chosen.status) in LIVE)
        if chosen.active is not None:
            query &= Q(finished_at__isnull=chosen.active)
        if chosen.created_after:
            query &= Q(created_at__gte=chosen.created_after)
        if chosen.created_before:
            query &= Q(created_at__lt=chosen.created_before)
        if chosen.q:
            query &= _search(chosen.q)
        if chosen.before:
            query &= Q(id__lt=chosen.before)
        return list(SagaRow.objects.filter(query).order_by("-id").values(*_SAGA_COLUMNS)[:limit])

    def events(self, chosen: EventFilter, limit: int) -> list[dict[str, Any]]:
        """See `SagaQueries`."""
        query = Q(**_given(chosen, "saga_id", "type", "step"))
        order = ("seq",) if chosen.saga_id else ("-saga_id", "-seq")
        if chosen.after:
            saga_id, seq = chosen.after
            older = Q(saga_id__lt=saga_id) | Q(saga_id=saga_id, seq__lt=seq)
            query &= Q(seq__gt=seq) if chosen.saga_id else older
        return list(SagaEventRow.objects.filter(query).order_by(*order).values(*_EVENT_COLUMNS)[:limit])

    def counts(self) -> Counts:
        """See `SagaQueries`."""
        return Counts(by_status=_counted("status"), live_by_state=_counted("state", finished_at__isnull=True))


def _given(chosen: SagaFilter | EventFilter, *names: str) -> dict[str, Any]:
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}


def _search(text: str) -> Q:
    """An id, or a correlation id: whatever a person has at hand."""
    try:
        return Q(id=UUID(text)) | Q(correlation_id=text)
    except ValueError:
        return Q(correlation_id=text)


def _counted(column: str, **conditions: Any) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    rows = SagaRow.objects.filter(**conditions).order_by().values_list("workflow", column).annotate(Count("id"))
    for workflow, value, count in rows:
        counts.setdefault(workflow, {})[value] = count
    return counts
