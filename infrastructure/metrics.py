"""The published metrics, counted from what was stored. Labels are bounded: never an id.

Under several gunicorn processes the counters are shared through PROMETHEUS_MULTIPROC_DIR; the live sagas are
counted in the database at scrape time, so that they survive crashes.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from functools import cache

from django.db import Error, connection
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from domain.entities import Saga
from domain.events import FINISHED, Action, EventType, SagaEvent
from domain.outcomes import CallFacts, Outcome
from domain.workflows import shipped_definitions

logger = logging.getLogger("saga")
disable_created_metrics()  # `..._created` beside every sample would double their number

SAGAS = Counter("saga", "Sagas started", ["workflow"])
DURATION = Histogram(
    "saga_duree_seconds",
    "Duration of a saga from its start to its end",
    ["workflow", "status"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
FAILURES = Counter("saga_echecs", "Sagas that turned back or were parked", ["workflow", "type", "etape"])
STEPS = Counter("saga_etapes", "Answers to a step's calls, by outcome", ["workflow", "etape", "statut"])
UNDOS = Counter("saga_compensations", "Answers to a step's undos, by outcome", ["workflow", "etape", "statut"])
CALLS = Counter("services_externes_calls", "Calls to participants", ["service", "methode", "statut"])
CALL_DURATION = Histogram(
    "services_externes_duree_seconds",
    "Duration of a call to a participant",
    ["service", "methode"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

MESSAGES = Counter("saga_messages", "Messages that came, by what became of them", ["topic", "resultat"])
BREAKERS = Gauge(
    "saga_participant_open",
    "1 while a participant is not called because it did not answer",
    ["service"],
    multiprocess_mode="livemax",
)


def observe_message(topic: str, result: str) -> None:
    """A message came."""
    MESSAGES.labels(topic, result).inc()


def observe_breaker(service: str, is_open: bool) -> None:  # noqa: FBT001 - the state itself
    """A participant's circuit opened or closed in this process."""
    BREAKERS.labels(service).set(int(is_open))


def observe_events(saga: Saga, events: Sequence[SagaEvent]) -> None:
    """Count events that are now stored."""
    workflow = saga.definition.name
    for event in events:
        step = event.step or ""
        if event.type is EventType.SAGA_STARTED:
            SAGAS.labels(workflow).inc()
        elif event.action is Action.UNDO and event.outcome:
            UNDOS.labels(workflow, step, event.outcome).inc()
        elif event.action is Action.DO and event.outcome:
            STEPS.labels(workflow, step, event.outcome).inc()
        elif event.type is EventType.STEP_FAILED:
            FAILURES.labels(workflow, event.outcome, step).inc()
        elif event.type is EventType.SAGA_PARKED:
            FAILURES.labels(workflow, "parked", saga.failure.step if saga.failure else step).inc()
        elif event.status in FINISHED:
            DURATION.labels(workflow, event.status.value).observe((event.at - saga.origin.started_at).total_seconds())


def observe_call(facts: CallFacts, outcome: Outcome) -> None:
    """Count one call: by its HTTP status, or by what its absence was taken for."""
    CALLS.labels(facts.service, facts.method, str(facts.status or outcome.kind)).inc()
    CALL_DURATION.labels(facts.service, facts.method).observe(facts.duration)


class LiveSagas(Collector):
    """`saga_actives_current{workflow,etat}`, from the database."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One sample for each state that a saga of a shipped workflow can be live in, and for each that one is in."""
        family = GaugeMetricFamily("saga_actives_current", "Live sagas", labels=["workflow", "etat"])
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT workflow, state, count(*) FROM sagas WHERE finished_at IS NULL GROUP BY 1, 2")
                counts = {(workflow, state): count for workflow, state, count in cursor.fetchall()}
            for labels, count in {**dict.fromkeys(_live_states(), 0), **counts}.items():
                family.add_metric(labels, count)
        except Error as error:
            # The other metrics are wanted most of all now; the missing samples say the rest.
            logger.warning("live sagas cannot be counted", extra={"reason": str(error).strip()})
        yield family


@cache
def _live_states() -> list[tuple[str, str]]:
    """So that a state that nobody is in is a 0, not a gap."""
    return sorted(
        {
            (definition.name, state)
            for definition in shipped_definitions()
            for state in definition.live_states() | {definition.compensating_state}
        }
    )


def exposition() -> bytes:
    """All metrics of all processes of this service, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(LiveSagas())
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
    return generate_latest(REGISTRY) + generate_latest(registry)
