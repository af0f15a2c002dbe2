"""Where adapters meet ports: the only module that knows both sides."""

import logging
import os
import socket
import time
from datetime import UTC, datetime
from functools import cache, partial
from uuid import UUID

import uuid_utils.compat
from django.conf import settings
from django.db import OperationalError, connection

from application.messages import Inbox, Relay, Trigger, order_of
from application.operations import Operations
from application.ports import Outbox, Participants, Subscriber
from application.publishing import Publisher
from application.saga_orchestrator import ANSWER_WITHIN, OVERHEAD, SagaOrchestrator, lease_for
from application.trace_context import Sampled, unsampled
from domain.lint import Limits
from domain.workflows import shipped_definitions
from infrastructure import booking_log, health, metrics, observation
from infrastructure.bulk_store import PostgresBulkStore
from infrastructure.definition_store import DefinitionStore
from infrastructure.fault_injection import FaultInjection, FaultyOutbox
from infrastructure.guard import Guard
from infrastructure.http_participants import HttpParticipants
from infrastructure.notices import PostgresNotices
from infrastructure.outbox_store import PostgresOutbox
from infrastructure.rates import PostgresRates
from infrastructure.retention import PostgresRetention
from infrastructure.saga_queries import PostgresSagaQueries
from infrastructure.saga_store import PostgresSagaStore
from infrastructure.statistics import PostgresStatistics
from interfaces.platform import Messaging, Platform

logger = logging.getLogger("saga")
PATIENCE = 30.0
"""Seconds that a process which starts waits for the database: one of gunicorn's that cannot start ends all of gunicorn,
with the sagas under way in the others, though it may only replace one that died while PostgreSQL was restarted."""
BETWEEN_LOOKS = 0.5


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


EVENTS_TOPIC = "saga-events"
"""Where every event of every saga is published, when there is a broker."""


@cache
def definitions() -> DefinitionStore:
    """The workflows of this process."""
    return DefinitionStore(shipped_definitions())


@cache
def engine() -> SagaOrchestrator:
    """The engine of this process."""
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    return SagaOrchestrator(
        store=store(),
        participants=participants(),
        definitions=definitions(),
        clock=SystemClock(),
        observe=booking_log.observed(observation.observe) if config["BOOKING_LOG"] else observation.observe,
        new_id=new_id,
        owner=f"{socket.gethostname()}:{os.getpid()}",
        saga_timeout=config["SAGA_TIMEOUT"],
        max_retries=config["MAX_RETRIES"],
        lease_seconds=lease_for(shipped_definitions()),
        broker=bool(config["BROKER_URL"]),
    )


def store() -> PostgresSagaStore:
    """Where sagas are; with tracing, it also tells what happens to them."""
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    topic = EVENTS_TOPIC if config["BROKER_URL"] else None
    if not config["TRACING"]:
        return PostgresSagaStore(definitions(), events_topic=topic)
    from infrastructure.tracing import TracedStore, tracer  # noqa: PLC0415 - OpenTelemetry, only where it is wanted

    return TracedStore(definitions(), events_topic=topic, tracer=tracer())


def participants() -> Participants:
    """The business services; where the environment allows it, sagas can be told to fail at them."""
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    services = HttpParticipants(
        config["SERVICES"],
        config["KONG_GATEWAY"]["API_KEY"],
        observe=metrics.observe_call,
        guard=guard(),
        sampled=sampled(),
    )
    return FaultInjection(services) if config["FAULT_INJECTION"] else services


def sampled() -> Sampled:
    """Which sagas are traced of those that came without a trace."""
    if not settings.SAGA_ORCHESTRATOR_CONFIG["TRACING"]:
        return unsampled
    from infrastructure.tracing import tracer  # noqa: PLC0415 - as in `store`

    return tracer().samples


def messaging() -> Messaging | None:
    """A worker's part in messages; opens nothing yet."""
    url = settings.SAGA_ORCHESTRATOR_CONFIG["BROKER_URL"]
    if not url:
        return None
    from infrastructure.pulsar_bus import PulsarPublisher, PulsarSubscriber  # noqa: PLC0415 - as below

    return Messaging(
        Relay(relayed(), PulsarPublisher(url)),
        inbox()(engine(), metrics.observe_message, triggers()),
        PulsarSubscriber(url, order=order_of, observe=metrics.observe_unheard),
        awaited_topics,
    )


def relayed() -> Outbox:
    """What a worker empties; where the environment allows it, sagas can be told to fail at their messages."""
    faults = settings.SAGA_ORCHESTRATOR_CONFIG["FAULT_INJECTION"]
    if faults:
        return FaultyOutbox(EVENTS_TOPIC, engine(), sampled())
    return PostgresOutbox(EVENTS_TOPIC, sampled())


def inbox() -> type[Inbox]:
    """What takes messages in; with tracing, it also tells of them."""
    if not settings.SAGA_ORCHESTRATOR_CONFIG["TRACING"]:
        return Inbox
    from infrastructure.tracing import TracedInbox  # noqa: PLC0415 - as in `store`

    return TracedInbox


def triggers() -> tuple[Trigger, ...]:
    """The messages that start sagas."""
    return tuple(Trigger(**each) for each in settings.SAGA_ORCHESTRATOR_CONFIG["TRIGGERS"])


def awaited_topics() -> list[str]:
    """The topics that any stored workflow waits on, and those that start sagas."""
    steps = (step for definition in definitions().all() for step in definition.steps)
    awaited = {step.awaits.topic for step in steps if step.awaits and step.awaits.topic}
    return sorted(awaited | {trigger.topic for trigger in triggers()})


@cache
def guard() -> Guard:
    """The breakers and bulkheads of this process."""
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    return Guard(
        failures=config["BREAKER_FAILURES"],
        pause=config["BREAKER_SECONDS"],
        limit=config["PARTICIPANT_CALLS"],
        observe=metrics.observe_breaker,
    )


@cache
def platform() -> Platform:
    """What the interfaces of this process reach."""
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    gateway_url = config["KONG_GATEWAY"]["BASE_URL"]
    return Platform(
        prepare=start,
        engine=engine(),
        operations=Operations(engine()),
        queries=PostgresSagaQueries(),
        statistics=PostgresStatistics(),
        heartbeat=health.WorkerHeartbeat(),
        notices=PostgresNotices,
        retention=PostgresRetention(),
        rates=PostgresRates(),
        publisher=publisher(),
        bulk=PostgresBulkStore(),
        messaging=messaging,
        outbox=PostgresOutbox(),
        bulkhead=guard().resize,
        checks={
            "database": health.database,
            "gateway": partial(health.gateway, gateway_url),
            "worker": lambda: health.worker(datetime.now(UTC)),
        },
        exposition=partial(metrics.exposition, settings.SAGA_VERSION),
        serve_metrics=partial(metrics.serve, settings.SAGA_VERSION),
        onlooker=onlooker,
    )


def onlooker() -> Subscriber | None:
    """Who only looks at the broker's messages; None without a broker."""
    from infrastructure.pulsar_bus import PulsarTail  # noqa: PLC0415 - 8 MB of client, which most processes never use

    url = settings.SAGA_ORCHESTRATOR_CONFIG["BROKER_URL"]
    return PulsarTail(url) if url else None


@cache
def publisher() -> Publisher:
    """What publishes workflows here, and what it holds them to."""
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    gateway_url, services = config["KONG_GATEWAY"]["BASE_URL"], config["SERVICES"]
    limits = Limits(
        deadline=config["SAGA_TIMEOUT"],
        max_retries=config["MAX_RETRIES"],
        longest_wait=ANSWER_WITHIN - OVERHEAD,
        direct=frozenset(name for name, url in services.items() if not url.startswith(gateway_url)),
        broker=bool(config["BROKER_URL"]),
    )
    return Publisher(definitions(), services, limits, frozenset(each.name for each in shipped_definitions()))


def new_id() -> UUID:
    """A UUIDv7: ids in the order of time, so that new rows stand together and lists by time read few."""
    return uuid_utils.compat.uuid7()


def start() -> SagaOrchestrator:
    """Make this process ready to drive sagas, once the database answers.

    Raises DefinitionChanged when a stored version differs, and OperationalError when the database stays away.
    """
    metrics.start(counts=settings.SAGA_ORCHESTRATOR_CONFIG["METRICS"])
    end = time.monotonic() + PATIENCE
    while True:
        try:
            definitions().register()
            return engine()
        except OperationalError as error:
            connection.close()
            if time.monotonic() >= end:
                raise
            logger.warning("waiting for the database: %s", str(error).strip())
            time.sleep(BETWEEN_LOOKS)
