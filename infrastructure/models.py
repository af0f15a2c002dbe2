"""The tables as Django sees them: for lists, statistics and migrations. The hot path is sql/*.sql.

What makes an impossible saga unstorable, whatever the code does, is in migrations/0003_rules_and_views.py.
"""

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from domain.events import SagaStatus

_MOVING = [SagaStatus.COMPENSATING.value, SagaStatus.RUNNING.value, SagaStatus.WAITING.value]
_FINISHED = Q(finished_at__isnull=False)


class EnumField(models.TextField):
    """A column of one of PostgreSQL's enum types, which migrations/0001_words.py makes: an unknown word is refused."""

    def __init__(self, enum: str = "", **options: Any) -> None:
        self.enum = enum
        super().__init__(**options)

    def db_type(self, connection: Any) -> str:  # noqa: ARG002 - Django's signature
        """The type's name."""
        return self.enum

    def deconstruct(self) -> Any:
        """For migrations."""
        name, path, arguments, options = super().deconstruct()
        return name, path, arguments, {**options, "enum": self.enum}


class SagaRow(models.Model):
    """One saga: where it stands. How it came there is in its events."""

    id = models.UUIDField(primary_key=True, editable=False)
    workflow = models.TextField()
    version = models.IntegerField()
    tenant = models.TextField(default="", blank=True)
    correlation_id = models.TextField()
    idempotency_key = models.TextField(null=True, blank=True)  # noqa: DJ001 - null is "none given", and is not unique
    request_hash = models.BinaryField(null=True)
    status = EnumField("saga_status")
    state = models.TextField()
    data = models.JSONField()
    error = models.JSONField(null=True)
    debts = models.JSONField(null=True)
    """How many undos a parked saga owes at each service; null while it is not parked."""
    seq = models.IntegerField()
    lease_token = models.UUIDField(null=True)
    lease_owner = models.TextField(null=True)  # noqa: DJ001 - null is "nobody yet"
    lease_expires_at = models.DateTimeField(null=True)
    wake_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sagas"
        verbose_name = "saga"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"],
                name="saga_idempotency",
                condition=Q(idempotency_key__isnull=False),
            )
        ]
        # No index has a column that changes while a saga runs, `state` first of all: then a checkpoint touches none of
        # them (a heap-only update), which is a third of what it costs.
        indexes = [
            # Claiming: only what can become due is in it, so it stays small with millions of finished sagas.
            models.Index(
                Coalesce(F("lease_expires_at"), F("wake_at")),
                name="saga_due_or_lapsed",
                condition=Q(status__in=_MOVING),
            ),
            models.Index(fields=["id"], name="saga_live", condition=Q(finished_at__isnull=True)),
            models.Index(fields=["correlation_id", "id"], name="saga_correlation"),
            # Of finished sagas, written once, by the checkpoint that finishes the saga. No `state` even here:
            # PostgreSQL asks whether any index's column changed, also of a partial index that does not have the row.
            # `status`, which saga_due's condition has too, changes only when a saga turns back, and at its end.
            # Retention: what finished first is deleted first.
            models.Index(fields=["workflow", "finished_at"], name="saga_finished", condition=_FINISHED),
            # Lists, newest first (sql/listed.sql). A kind of finished saga says its state, and there are few kinds.
            models.Index(
                fields=["workflow", "version", "status", "id"], name="saga_finished_kind", condition=_FINISHED
            ),
            models.Index(
                fields=["tenant", "workflow", "version", "status", "id"],
                name="saga_finished_tenant",
                condition=_FINISHED,
            ),
        ]


class SagaEventRow(models.Model):
    """One event of a saga; append-only."""

    pk = models.CompositePrimaryKey("saga_id", "seq")
    saga_id = models.UUIDField()
    seq = models.IntegerField()
    type = EnumField("saga_event_type")
    at = models.DateTimeField()
    status = EnumField("saga_status")
    state = models.TextField()
    previous_state = models.TextField(null=True)  # noqa: DJ001 - the first event has none
    step = models.TextField(null=True)  # noqa: DJ001
    item = models.IntegerField(null=True)
    action = EnumField("saga_action", null=True)
    attempt = models.IntegerField(null=True)
    outcome = models.TextField(null=True)  # noqa: DJ001
    reason = models.TextField(null=True)  # noqa: DJ001
    output = models.JSONField(null=True)
    due_at = models.DateTimeField(null=True)
    service = models.TextField(null=True)  # noqa: DJ001
    http_method = models.TextField(null=True)  # noqa: DJ001
    http_status = models.IntegerField(null=True)
    duration = models.FloatField(null=True)
    actor = models.TextField(null=True)  # noqa: DJ001

    class Meta:
        db_table = "saga_evenements"
        verbose_name = "saga event"


class DefinitionRow(models.Model):
    """One version of a workflow; never changed once stored, because running sagas keep it."""

    pk = models.CompositePrimaryKey("name", "version")
    name = models.TextField()
    version = models.IntegerField()
    content = models.JSONField()
    content_hash = models.TextField()
    states = models.JSONField()
    """Which states can stand beside which status; a trigger on `sagas` refuses every other pair."""
    created_at = models.DateTimeField(auto_now_add=True)
    published_by = models.TextField(null=True)  # noqa: DJ001 - null is "not kept": stored before it was

    class Meta:
        db_table = "saga_definitions"
        verbose_name = "saga definition"


class OutboxRow(models.Model):
    """One message to publish, in the order of its saga; written by the checkpoint that decided it."""

    id = models.BigAutoField(primary_key=True)
    saga_id = models.UUIDField()
    seq = models.IntegerField()
    topic = models.TextField()
    payload = models.JSONField()
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True)
    refused = models.TextField(null=True)  # noqa: DJ001 - null is "not refused"
    """Why no broker would take it: it waits for a person (`manage.py saga_outbox`), and no other waits for it."""

    class Meta:
        db_table = "saga_outbox"
        verbose_name = "outbox message"
        constraints = [models.UniqueConstraint(fields=["saga_id", "seq", "topic"], name="saga_outbox_once")]
        indexes = [
            models.Index(fields=["id"], name="saga_outbox_unpublished", condition=Q(published_at__isnull=True)),
            models.Index(fields=["id"], name="saga_outbox_refused", condition=Q(refused__isnull=False)),
        ]


class BusinessIdRow(models.Model):
    """An id by which people know a saga; written once, when it became known.

    Its own table: an index on a column of `sagas` that is filled in while the saga runs would cost every checkpoint.
    """

    pk = models.CompositePrimaryKey("value", "saga_id", "name")
    value = models.TextField()
    saga_id = models.UUIDField()
    name = models.TextField()

    class Meta:
        db_table = "saga_business_ids"
        verbose_name = "business id"
        indexes = [models.Index(fields=["saga_id"], name="saga_business_ids_of")]  # they go with their saga


class WorkerRow(models.Model):
    """A worker process, and when it last said that it is at work."""

    name = models.TextField(primary_key=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "saga_workers"
        verbose_name = "worker"


class BulkRow(models.Model):
    """One remedy for a group of sagas: what is to be done to each, and how far it has come."""

    id = models.UUIDField(primary_key=True, editable=False)
    group = models.TextField()
    verb = models.TextField()
    reason = models.TextField()
    actor = models.TextField()
    per_second = models.FloatField()
    total = models.IntegerField()
    done = models.IntegerField(default=0)
    refused = models.IntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    cancelled = models.BooleanField(default=False)
    cancelled_by = models.TextField(null=True)  # noqa: DJ001 - null is "nobody"
    lease_owner = models.TextField(null=True)  # noqa: DJ001 - null is "nobody"
    lease_expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "saga_bulk"
        verbose_name = "bulk remedy"
        indexes = [models.Index(fields=["created_at"], name="saga_bulk_open", condition=Q(finished_at__isnull=True))]


class BulkItemRow(models.Model):
    """One saga of a bulk remedy; `at` is when it was its turn."""

    pk = models.CompositePrimaryKey("bulk_id", "saga_id")
    bulk = models.ForeignKey(BulkRow, on_delete=models.CASCADE, related_name="items")
    saga_id = models.UUIDField()
    at = models.DateTimeField(null=True)
    refusal = models.TextField(null=True)  # noqa: DJ001 - null is "done"

    class Meta:
        db_table = "saga_bulk_sagas"
        verbose_name = "saga of a bulk remedy"


class RateRow(models.Model):
    """How many requests of a scope a caller has made in the minute of the last one. Unlogged: a crash forgets it."""

    pk = models.CompositePrimaryKey("scope", "caller")
    scope = models.TextField()
    caller = models.TextField()
    minute = models.DateTimeField()
    requests = models.IntegerField()

    class Meta:
        db_table = "saga_rates"
        verbose_name = "request rate"


class LoginAttemptRow(models.Model):
    """An attempt to log in that did not end well, or has not ended; kept for some minutes (logins.py)."""

    id = models.BigAutoField(primary_key=True)
    key = models.TextField(db_index=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "saga_login_attempts"
        verbose_name = "login attempt"


class RollupRow(models.Model):
    """How many sagas started or ended in one span of time, with such a duration: what statistics are read from.

    Deleting sagas leaves it as it is. `duration` numbers the bins of application/statistics.py.
    """

    pk = models.CompositePrimaryKey("span", "since", "workflow", "version", "status", "duration")
    span = models.IntegerField()
    """Seconds that the row covers from `since` on; 0 is ever."""
    since = models.DateTimeField()
    workflow = models.TextField()
    version = models.IntegerField()
    status = EnumField("saga_status")
    """How they ended; RUNNING counts those that have ended meanwhile and had started here."""
    duration = models.IntegerField()
    sagas = models.IntegerField()
    retried = models.IntegerField()
    """Of these, those that repeated a call."""

    class Meta:
        db_table = "saga_rollup"
        verbose_name = "rollup"


class RollupDueRow(models.Model):
    """A saga that ended (`sagas` is 1), or that turned back after its end (-1), and is not in the rollup yet."""

    id = models.BigAutoField(primary_key=True)
    saga_id = models.UUIDField()
    workflow = models.TextField()
    version = models.IntegerField()
    status = EnumField("saga_status")
    seq = models.IntegerField()
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    sagas = models.IntegerField()

    class Meta:
        db_table = "saga_rollup_due"
        verbose_name = "ending to roll up"
