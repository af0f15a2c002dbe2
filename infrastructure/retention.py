"""The `Retention` over PostgreSQL: finished sagas and all that belongs to them, deleted batch by batch."""

from datetime import UTC, datetime
from pathlib import Path

from django.db import connection
from django.db.models import Count, Min

from application.ports import Prunable, Pruned
from infrastructure.models import DefinitionRow, OutboxRow, SagaRow

_PRUNE = (Path(__file__).parent / "sql" / "prune.sql").read_text()
_EVER = datetime.min.replace(tzinfo=UTC)


class PostgresRetention:
    """The `Retention` over Django's connection of the current thread."""

    def workflows(self) -> list[str]:
        """See `Retention`: no saga is stored whose definition is not."""
        return list(DefinitionRow.objects.order_by("name").values_list("name", flat=True).distinct())

    def prunable(self, workflow: str, before: datetime) -> Prunable | None:
        """See `Retention`. Reads the index alone, all of it that is past; `oldest` may be one whose message waits."""
        past = SagaRow.objects.filter(workflow=workflow, finished_at__lt=before)
        counted = past.aggregate(sagas=Count("*"), oldest=Min("finished_at"))
        waiting = OutboxRow.objects.filter(published_at__isnull=True).values("saga_id")
        sagas = counted["sagas"] - past.filter(id__in=waiting).count()
        return Prunable(workflow, sagas, counted["oldest"]) if sagas else None

    def prune(self, workflow: str, before: datetime, since: datetime | None, limit: int) -> Pruned:
        """See `Retention`. In autocommit the statement is the transaction."""
        parameters = {"workflow": workflow, "before": before, "since": since or _EVER, "limit": limit}
        with connection.cursor() as cursor:
            cursor.execute(_PRUNE, parameters)
            return Pruned(*cursor.fetchone())
