"""Failure groups, and the remedies that are applied to whole groups, in PostgreSQL."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q

from application.bulk import Bulk, FailureGroup
from domain.exceptions import GroupGrown
from infrastructure.models import BulkItemRow, BulkRow

_GROUPS = """
SELECT kind, workflow, step, action, service, outcome, fingerprint, count(*), count(*) FILTER (WHERE parked), min(at),
    (array_agg(saga_id ORDER BY saga_id))[1:5], (array_agg(reason ORDER BY saga_id))[1]
FROM saga_trouble WHERE %(kind)s IS NULL OR kind = %(kind)s
GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 8 DESC, 1 LIMIT %(limit)s
"""
_MEMBERS = "INSERT INTO saga_bulk_sagas (bulk_id, saga_id) SELECT %s, saga_id FROM saga_trouble WHERE kind = %s"
LEASE = timedelta(seconds=15)
"""How long a worker that applies a remedy may be silent before another goes on with it."""


class PostgresBulkStore:
    """The `BulkStore` over Django's connection of the current thread."""

    def failures(self, limit: int) -> list[FailureGroup]:
        """See `BulkStore`."""
        with connection.cursor() as cursor:
            cursor.execute(_GROUPS, {"kind": None, "limit": limit})
            return [FailureGroup(*row) for row in cursor.fetchall()]

    def group(self, group: str) -> FailureGroup | None:
        """See `BulkStore`."""
        with connection.cursor() as cursor:
            cursor.execute(_GROUPS, {"kind": group, "limit": 1})
            row = cursor.fetchone()
        return FailureGroup(*row) if row else None

    def in_trouble(self, saga_id: UUID, group: str) -> bool:
        """See `BulkStore`."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM saga_trouble WHERE saga_id = %s AND kind = %s", [saga_id, group])
            return cursor.fetchone() is not None

    def begin(self, bulk: Bulk, at_most: int | None = None) -> Bulk | None:
        """See `BulkStore`."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{bulk.group} {bulk.verb}"])
            same = BulkRow.objects.filter(group=bulk.group, verb=bulk.verb, finished_at__isnull=True).first()
            if same:
                return _bulk(same)
            row = BulkRow.objects.create(
                id=bulk.id,
                group=bulk.group,
                verb=bulk.verb,
                reason=bulk.reason,
                actor=bulk.actor,
                per_second=bulk.per_second,
                total=0,
                created_at=bulk.created_at,
            )
            cursor.execute(_MEMBERS, [bulk.id, bulk.group])
            if not cursor.rowcount:
                transaction.set_rollback(True)
                return None
            if at_most is not None and cursor.rowcount > at_most:
                raise GroupGrown  # and nothing of it is stored
            row.total = cursor.rowcount
            row.save(update_fields=["total"])
            return _bulk(row)

    def load(self, bulk_id: UUID) -> Bulk | None:
        """See `BulkStore`."""
        row = BulkRow.objects.filter(id=bulk_id).first()
        return _bulk(row) if row else None

    def recent(self, limit: int) -> list[Bulk]:
        """See `BulkStore`."""
        return [_bulk(row) for row in BulkRow.objects.order_by("-id")[:limit]]

    def refusals(self, bulk_id: UUID, limit: int) -> list[tuple[UUID, str]]:
        """See `BulkStore`."""
        refused = BulkItemRow.objects.filter(bulk_id=bulk_id, refusal__isnull=False).order_by("saga_id")
        return list(refused.values_list("saga_id", "refusal")[:limit])

    def cancel(self, bulk_id: UUID, actor: str, now: datetime) -> None:
        """See `BulkStore`."""
        BulkRow.objects.filter(id=bulk_id, finished_at__isnull=True).update(
            cancelled=True, cancelled_by=actor, finished_at=now, lease_expires_at=None
        )

    def claim(self, owner: str, now: datetime) -> Bulk | None:
        """See `BulkStore`."""
        free = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lte=now)
        with transaction.atomic():
            row = (
                BulkRow.objects.filter(free, finished_at__isnull=True)
                .order_by("created_at")
                .select_for_update(skip_locked=True)
                .first()
            )
            if row is None:
                return None
            row.lease_owner, row.lease_expires_at = owner, now + LEASE
            row.save(update_fields=["lease_owner", "lease_expires_at"])
            return _bulk(row)

    def next_saga(self, bulk_id: UUID, owner: str) -> UUID | None:
        """See `BulkStore`."""
        held = {"bulk__lease_owner": owner, "bulk__finished_at__isnull": True}
        waiting = BulkItemRow.objects.filter(bulk_id=bulk_id, at__isnull=True, **held).order_by("saga_id")
        found: UUID | None = waiting.values_list("saga_id", flat=True).first()
        return found

    def record(self, bulk_id: UUID, saga_id: UUID, refusal: str | None, owner: str, now: datetime) -> bool:
        """See `BulkStore`."""
        with transaction.atomic():
            remedy = BulkRow.objects.filter(id=bulk_id)
            row = remedy.select_for_update().first()  # nobody else counts meanwhile
            held = row is not None and row.lease_owner == owner and row.finished_at is None
            if held:
                remedy.update(lease_expires_at=now + LEASE)
            item = BulkItemRow.objects.filter(bulk_id=bulk_id, saga_id=saga_id, at__isnull=True)
            # Whoever lost the remedy may say what it has done, and not what it has given up: another may still do that.
            if (held or refusal is None) and item.update(
                at=now, refusal=refusal
            ):  # a saga whose turn was noted already counts once
                remedy.update(**({"refused": F("refused") + 1} if refusal else {"done": F("done") + 1}))
        return held

    def finish(self, bulk_id: UUID, owner: str, now: datetime) -> None:
        """See `BulkStore`."""
        BulkRow.objects.filter(id=bulk_id, lease_owner=owner, finished_at__isnull=True).update(
            finished_at=now, lease_expires_at=None
        )


def _bulk(row: BulkRow) -> Bulk:
    return Bulk(
        id=row.id,
        group=row.group,
        verb=row.verb,
        reason=row.reason,
        actor=row.actor,
        per_second=row.per_second,
        total=row.total,
        done=row.done,
        refused=row.refused,
        created_at=row.created_at,
        finished_at=row.finished_at,
        cancelled=row.cancelled,
        cancelled_by=row.cancelled_by,
    )
