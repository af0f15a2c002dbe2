"""The published metrics, counted from what was stored. Labels are bounded: never an id.

Under several gunicorn processes the counters are shared through PROMETHEUS_MULTIPROC_DIR, in batches (tally.py); what
must survive crashes is asked of the database at scrape time (database_numbers.py). docs/monitoring.md lists them all.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

from django.db import Error
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    start_http_server,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import REGISTRY, Collector

from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import FINISHED, Action, EventType, SagaEvent
from domain.outcomes import CallFacts, Outcome, Succeeded
from domain.progress import DEADLINE, OPERATOR
from infrastructure.database_numbers import InDatabase, Reader
from infrastructure.known_workflows import KNOWN
from infrastructure.process_numbers import GarbageWatch, Processes
from infrastructure.span_queue import RESULTS
from infrastructure.tally import Histogram, Tally, child

disable_created_metrics()  # `..._created` beside every sample would double their number

SAGAS = Counter("saga", "Sagas started", ["workflow"])
DURATION = Histogram(
    "saga_duree_seconds",
    "Duration of a saga from its start to its end",
    ["workflow", "status"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
FAILURES = Counter("saga_echecs", "Sagas that turned back or were parked", ["workflow", "type", "etape"])
PARKED = "parked"
"""The type of those that wait for a person; of the others it is the outcome."""
STEPS = Counter("saga_etapes", "Answers to a step's calls, by outcome", ["workflow", "etape", "statut"])
UNDOS = Counter("saga_compensations", "Answers to a step's undos, by outcome", ["workflow", "etape", "statut"])
CALLS = Counter("services_externes_calls", "Calls to participants", ["service", "methode", "statut"])
CALL_DURATION = Histogram(
    "services_externes_duree_seconds",
    "Duration of a call to a participant",
    ["service", "methode"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

REQUESTS = Counter("saga_http_requests", "Requests that were answered", ["route", "methode", "statut"])
REQUEST_DURATION = Histogram(
    "saga_http_duree_seconds",
    "Duration of a request",
    ["route", "methode"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
CHECKPOINT_DURATION = Histogram(
    "saga_database_checkpoint_seconds",
    "Duration of the statement that stores a checkpoint, by whether it waits for the disk",
    ["sync"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5),
)
MESSAGES = Counter("saga_messages", "Messages that came, by what became of them", ["topic", "resultat"])
SPANS = Counter("saga_spans", "Spans of traces, by what became of them", ["resultat"])
UNHEARD = Counter(
    "saga_topic_failures", "Failures to listen to a topic, each of which is tried again", ["topic", "reason"]
)
BREAKERS = Gauge(
    "saga_participant_open",
    "1 while a participant is not called because it did not answer",
    ["service"],
    multiprocess_mode="livemax",
)
"""Kept as the time until which it counts as open, and told as whether that is still to come (`_Counted`)."""


counting = True
"""Whether anything is counted; SAGA_METRICS=False turns it off, which shows what it costs."""


def observe_message(topic: str, result: str) -> None:
    """A message came."""
    child(MESSAGES, topic, result).inc()


def observe_unheard(topic: str, reason: str) -> None:
    """A topic could not be listened to."""
    child(UNHEARD, topic, reason).inc()


def observe_breaker(service: str, seconds: float) -> None:
    """A participant's circuit is open in this process, for so many seconds unless told otherwise; 0: it closed."""
    child(BREAKERS, service).set(time.time() + seconds if seconds else 0)


_ANSWERS = {Action.DO: STEPS, Action.UNDO: UNDOS}
_STARTED, _TURNED_BACK, _PARKED = EventType.SAGA_STARTED, EventType.STEP_FAILED, EventType.SAGA_PARKED
"""Looked up once: a member of an enumeration costs more than counting it."""


def observe_events(saga: Saga, events: Sequence[SagaEvent]) -> None:
    """Count events that are now stored."""
    if not counting:
        return
    workflow = saga.definition.name
    for event in events:
        kind, outcome = event.type, event.outcome
        if outcome and event.action in _ANSWERS:
            _tally.count(_ANSWERS[event.action], workflow, event.step or "", outcome)
        elif kind is _STARTED:
            _tally.count(SAGAS, workflow)
        elif kind is _TURNED_BACK:
            _tally.count(FAILURES, workflow, outcome, event.step or "")
        elif kind is _PARKED:
            _tally.count(FAILURES, workflow, PARKED, (saga.failure.step if saga.failure else event.step) or "")
        elif event.status in FINISHED:
            _tally.observe((event.at - saga.origin.started_at).total_seconds(), DURATION, workflow, str(event.status))


def observe_call(facts: CallFacts, outcome: Outcome) -> None:
    """Count one call: by its HTTP status, or by what its absence was taken for."""
    if not counting:
        return
    _tally.count(CALLS, facts.service, facts.method, str(facts.status or outcome.kind))
    _tally.observe(facts.duration, CALL_DURATION, facts.service, facts.method)


def observe_spans(result: str, count: int) -> None:
    """Spans were sent, or lost."""
    if counting:
        child(SPANS, result).inc(count)


def observe_checkpoint(sync: str, seconds: float) -> None:
    """A checkpoint was stored; `sync` is on or off."""
    if counting:
        _tally.observe(seconds, CHECKPOINT_DURATION, sync)


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """A request was answered."""
    if counting:
        _tally.count(REQUESTS, route, method, str(status))
        _tally.observe(seconds, REQUEST_DURATION, route, method)
        _garbage.look(time.monotonic())


class _Counted(Collector):
    """What was counted, and a 0 for what may be next; `look` reads which workflows were published since.

    What is kept as the time until which it is so is told as whether it is so now.
    """

    def __init__(self, counted: Any, look: Callable[[], Any]) -> None:
        self._counted, self._look = counted, look

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        with contextlib.suppress(Error, TimeoutError):
            self._look()
        _expect()
        _tally.write()
        for family in self._counted.collect():
            if family.name == "saga_participant_open":
                now = time.time()
                family.samples = [sample._replace(value=float(sample.value > now)) for sample in family.samples]
            yield family


_OUTCOMES = {outcome.kind for outcome in get_args(Outcome)}
_expected: set[tuple[str, int]] = set()


def _expect() -> None:
    """What may happen in known workflows, and to spans, is 0 until it does."""
    for result in RESULTS:
        child(SPANS, result)
    for definition in KNOWN.all():
        if (definition.name, definition.version) not in _expected:
            _expect_all_of(definition)
            _expected.add((definition.name, definition.version))


def _expect_all_of(definition: SagaDefinition) -> None:
    SAGAS.labels(definition.name)
    for status in FINISHED:
        DURATION.labels(definition.name, status.value)
    for step in definition.steps:
        for outcome in _OUTCOMES:
            STEPS.labels(definition.name, step.name, outcome)
            if step.undoable:
                UNDOS.labels(definition.name, step.name, outcome)
        for failure in (_OUTCOMES - {Succeeded.kind}) | {DEADLINE, OPERATOR, PARKED}:
            FAILURES.labels(definition.name, failure, step.name)


def exposition(version: str) -> bytes:
    """All metrics of all processes of this service, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Processes(version))
    registry.register(InDatabase(_reader.read))  # before what is counted: it reads which workflows there are
    _garbage.look(time.monotonic())
    several = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    registry.register(_Counted(multiprocess.MultiProcessCollector(None) if several else REGISTRY, KNOWN.all))
    return generate_latest(registry)


def serve(version: str, host: str, port: int) -> None:
    """Tell the metrics of this one process on a port of its own; what the database knows, the service tells."""
    registry, published = CollectorRegistry(), Reader(lambda _: KNOWN.look())
    registry.register(_Counted(REGISTRY, published.read))
    registry.register(Processes(version))
    start_http_server(port, addr=host, registry=registry)


_reader, _garbage, _tally = Reader(), GarbageWatch(), Tally()


def start(*, counts: bool) -> None:
    """Count in this process, or do not; what is counted in one of several is there for the others to tell."""
    global counting  # noqa: PLW0603 - of the process
    counting = counts
    if counts and os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _tally.start()
