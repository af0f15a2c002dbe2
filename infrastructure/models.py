"""The tables, with constraints that make an impossible saga unstorable whatever the code does.

The hot path does not pass through these classes (sql/*.sql does); lists, statistics and migrations do.
"""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from domain.events import FINISHED, Action, EventType, SagaStatus

_FINISHED = sorted(FINISHED)
_MOVING = [SagaStatus.COMPENSATING.value, SagaStatus.RUNNING.value]
_RESTING = sorted([*FINISHED, SagaStatus.STUCK, SagaStatus.PAUSED])
_TURNED_BACK = sorted([SagaStatus.COMPENSATED, SagaStatus.COMPENSATING, SagaStatus.FAILED])


def _check(name: str, condition: Q) -> models.CheckConstraint:
    return models.CheckConstraint(name=name, condition=condition)


class SagaRow(models.Model):
    """One saga: where it stands. How it came there is in its events."""

    id = models.UUIDField(primary_key=True, editable=False)
    workflow = models.TextField()
    version = models.IntegerField()
    tenant = models.TextField(default="", blank=True)
    correlation_id = models.TextField()
    idempotency_key = models.TextField(null=True, blank=True)  # noqa: DJ001 - null is "none given", and is not unique
    request_hash = models.BinaryField(null=True)
    status = models.TextField()
    state = models.TextField()
    data = models.JSONField()
    error = models.JSONField(null=True)
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
            _check("saga_status_known", Q(status__in=[status.value for status in SagaStatus])),
            _check("saga_version_counts_from_1", Q(version__gte=1)),
            _check("saga_has_begun", Q(seq__gte=1)),
            _check(
                "saga_finished_has_a_time",
                Q(status__in=_FINISHED, finished_at__isnull=False)
                | (~Q(status__in=_FINISHED) & Q(finished_at__isnull=True)),
            ),
            # Never lost: what moves by itself has a driver's lease that expires, or a time to be woken at.
            _check(
                "saga_moving_has_a_driver_or_a_time",
                ~Q(status__in=_MOVING) | Q(lease_expires_at__isnull=False) | Q(wake_at__isnull=False),
            ),
            _check(
                "saga_resting_has_no_driver",
                ~Q(status__in=_RESTING) | Q(lease_expires_at__isnull=True, wake_at__isnull=True),
            ),
            _check("saga_lease_has_a_token", Q(lease_expires_at__isnull=True) | Q(lease_token__isnull=False)),
            _check("saga_completed_has_no_error", ~Q(status=SagaStatus.COMPLETED.value) | Q(error__isnull=True)),
            _check("saga_turned_back_has_an_error", ~Q(status__in=_TURNED_BACK) | Q(error__isnull=False)),
            _check(
                "saga_idempotency_key_has_a_hash",
                Q(idempotency_key__isnull=True, request_hash__isnull=True)
                | Q(idempotency_key__isnull=False, request_hash__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"],
                name="saga_idempotency",
                condition=Q(idempotency_key__isnull=False),
            ),
        ]
        indexes = [
            # Claiming: only what can become due is in it, so it stays small with millions of finished sagas.
            models.Index(
                Coalesce(F("lease_expires_at"), F("wake_at")), name="saga_due", condition=Q(status__in=_MOVING)
            ),
            models.Index(fields=["id"], name="saga_live", condition=Q(finished_at__isnull=True)),
            models.Index(
                fields=["workflow", "state", "id"], name="saga_finished", condition=Q(finished_at__isnull=False)
            ),
            models.Index(fields=["correlation_id"], name="saga_correlation"),
        ]


class SagaEventRow(models.Model):
    """One event of a saga; append-only."""

    pk = models.CompositePrimaryKey("saga_id", "seq")
    saga_id = models.UUIDField()
    seq = models.IntegerField()
    type = models.TextField()
    at = models.DateTimeField()
    status = models.TextField()
    state = models.TextField()
    previous_state = models.TextField(null=True)  # noqa: DJ001 - the first event has none
    step = models.TextField(null=True)  # noqa: DJ001
    item = models.IntegerField(null=True)
    action = models.TextField(null=True)  # noqa: DJ001
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
        constraints = [
            _check("saga_event_type_known", Q(type__in=[kind.value for kind in EventType])),
            _check("saga_event_status_known", Q(status__in=[status.value for status in SagaStatus])),
            _check(
                "saga_event_action_known", Q(action__isnull=True) | Q(action__in=[action.value for action in Action])
            ),
            _check("saga_event_seq_counts_from_1", Q(seq__gte=1)),
        ]


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

    class Meta:
        db_table = "saga_definitions"
        verbose_name = "saga definition"
        constraints = [_check("saga_definition_version_counts_from_1", Q(version__gte=1))]


class OutboxRow(models.Model):
    """One message to publish, in the order of its saga; written by the checkpoint that decided it."""

    id = models.BigAutoField(primary_key=True)
    saga_id = models.UUIDField()
    seq = models.IntegerField()
    topic = models.TextField()
    payload = models.JSONField()
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "saga_outbox"
        verbose_name = "outbox message"
        constraints = [models.UniqueConstraint(fields=["saga_id", "seq", "topic"], name="saga_outbox_once")]
        indexes = [models.Index(fields=["id"], name="saga_outbox_unpublished", condition=Q(published_at__isnull=True))]


class WorkerRow(models.Model):
    """A worker process, and when it last said that it is at work."""

    name = models.TextField(primary_key=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "saga_workers"
        verbose_name = "worker"
