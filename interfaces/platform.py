"""What the interfaces reach: the settings name its factory, so that nothing here knows how it is wired."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string

from application.bulk import BulkStore
from application.messages import Inbox, Relay
from application.operations import Operations
from application.ports import Notices, Outbox, Rates, Retention, Subscriber
from application.publishing import Publisher
from application.queries import Check, Heartbeat, SagaQueries
from application.saga_orchestrator import SagaOrchestrator
from application.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Messaging:
    """What a worker does with a broker: send what is in the outbox, and give what comes to sagas."""

    relay: Relay
    inbox: Inbox
    subscriber: Subscriber
    topics: Callable[[], Sequence[str]]
    """Those that the stored workflows wait on, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The engine, and what is told about it."""

    prepare: Callable[[], object]
    """Makes the process ready to drive sagas. Raises DefinitionChanged when a stored workflow differs."""
    engine: SagaOrchestrator
    operations: Operations
    queries: SagaQueries
    statistics: Statistics
    heartbeat: Heartbeat
    notices: Callable[[], Notices]
    """Begins to listen for new work."""
    retention: Retention
    rates: Rates
    publisher: Publisher
    bulk: BulkStore
    bulkhead: Callable[[int, float], None]
    """Calls to one participant at once in this process, and the seconds that a call waits for its turn."""
    messaging: Callable[[], Messaging | None]
    """None without a broker."""
    outbox: Outbox
    checks: Mapping[str, Callable[[], Check]]
    """Each part that must work for the service to be ready, by name."""
    exposition: Callable[[], bytes]
    """All metrics in Prometheus' text format."""
    serve_metrics: Callable[[str, int], None]
    """Tells this process's metrics at a host and port of their own."""
    onlooker: Callable[[], Subscriber | None]
    """Sees messages from now on, and takes them from nobody; None without a broker."""


def platform() -> Platform:
    """The platform of this process."""
    built: Platform = import_string(settings.SAGA_PLATFORM)()
    return built


def engine() -> SagaOrchestrator:
    """The engine of this process."""
    return platform().engine
