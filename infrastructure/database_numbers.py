"""What Prometheus is told of the database: sagas that live, what they owe, what waits, and the server itself.

Asked at each scrape, so that it is true after any crash. Every statement reads a partial index or a table that stays
small (docs/monitoring.md says what a scrape costs), and a database that does not answer costs its own numbers only.
"""

import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from django.db import Error, connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from domain.definition import SagaDefinition
from domain.events import LIVE
from infrastructure.health import STALE_AFTER
from infrastructure.known_workflows import KNOWN

logger = logging.getLogger("saga")

SECONDS = 2.0
"""How long a scrape waits for the database: well within Prometheus' scrape_timeout, so that the rest arrives."""
MOST_WAITING = 100_000
"""What waits is counted up to here: with the broker or all workers away for a day a scrape still costs milliseconds."""

_SAGAS = """
SELECT workflow, status::text, state, count(*), extract(epoch FROM %(now)s - min(updated_at))::float8
FROM sagas WHERE finished_at IS NULL GROUP BY 1, 2, 3
"""
_DEBTS = """
SELECT workflow, service, sum(undos::int)::int, extract(epoch FROM %(now)s - min(updated_at))::float8
FROM sagas CROSS JOIN LATERAL jsonb_each_text(debts) AS debt (service, undos)
WHERE finished_at IS NULL AND status = 'STUCK' GROUP BY 1, 2
"""
_OVERDUE = """
SELECT count(*), COALESCE(extract(epoch FROM %(now)s - min(COALESCE(lease_expires_at, wake_at))), 0)::float8 FROM sagas
WHERE status IN ('COMPENSATING', 'RUNNING', 'WAITING') AND COALESCE(lease_expires_at, wake_at) <= %(now)s
"""
_OUTBOX = """
SELECT
    (SELECT count(*) FROM (
        SELECT FROM saga_outbox WHERE published_at IS NULL AND refused IS NULL LIMIT %(most)s
    ) AS waiting),
    COALESCE(extract(epoch FROM %(now)s - (
        SELECT created_at FROM saga_outbox WHERE published_at IS NULL AND refused IS NULL ORDER BY id LIMIT 1
    )), 0)::float8,
    (SELECT count(*) FROM saga_outbox WHERE refused IS NOT NULL)
"""
_ROLLUP = """
SELECT
    (SELECT count(*) FROM (SELECT FROM saga_rollup_due LIMIT %(most)s) AS due),
    GREATEST(0, COALESCE(extract(epoch FROM %(now)s - (
        SELECT finished_at FROM saga_rollup_due WHERE sagas > 0 ORDER BY id LIMIT 1
    )), 0))::float8
"""
_WORKERS = """
SELECT count(*) FILTER (WHERE age <= %(stale)s), min(age)
FROM (SELECT extract(epoch FROM %(now)s - seen_at)::float8 AS age FROM saga_workers) AS worker
"""
_CONNECTIONS = """
SELECT CASE WHEN state LIKE 'idle in%%' THEN 'idle in transaction' WHEN state IN ('active', 'idle') THEN state
    ELSE 'other' END, count(*)
FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1
"""
_SERVER = "SELECT current_setting('max_connections')::int, pg_database_size(current_database())"
_STATES = ("active", "idle", "idle in transaction", "other")


def numbers(now: datetime) -> list[GaugeMetricFamily]:
    """Everything, read over this thread's connection. Raises django.db.Error."""
    known = KNOWN.look()
    families = [*_of_sagas(_ask(_SAGAS, now=now), known), *_of_debts(_ask(_DEBTS, now=now), known)]
    ((overdue, overdue_for),) = _ask(_OVERDUE, now=now)
    ((waiting, waiting_for, refused),) = _ask(_OUTBOX, now=now, most=MOST_WAITING)
    ((due, due_for),) = _ask(_ROLLUP, now=now, most=MOST_WAITING)
    ((workers, seen),) = _ask(_WORKERS, now=now, stale=STALE_AFTER)
    ((most, size),) = _ask(_SERVER)
    states = dict.fromkeys(_STATES, 0) | dict(_ask(_CONNECTIONS))
    families += [
        _gauge("saga_overdue_current", "Sagas that are due and that nobody has taken up", overdue),
        _gauge("saga_overdue_oldest_seconds", "For how long the first of them has been due", overdue_for),
        _gauge("saga_outbox_waiting_current", "Messages that the broker does not have yet", waiting),
        _gauge("saga_outbox_oldest_seconds", "Age of the oldest of them", waiting_for),
        _gauge("saga_outbox_refused_current", "Messages put aside, since no broker would take them", refused),
        _gauge("saga_rollup_due_current", "Endings that the statistics do not have yet", due),
        _gauge("saga_rollup_due_oldest_seconds", "For how long the first of them is missing", due_for),
        _gauge("saga_workers_current", f"Workers that reported in the last {STALE_AFTER:g} s", workers),
        _gauge("saga_database_connections_max", "Connections that the server accepts", most),
        _gauge("saga_database_size_bytes", "Size of the saga database", size),
        _gauge(
            "saga_database_connections_current",
            "Client connections of the server, by what they do",
            {(state,): count for state, count in states.items()},
            ["etat"],
        ),
    ]
    if seen is not None:
        families.append(_gauge("saga_worker_seen_seconds", "Seconds since any worker reported", seen))
    return families


def _of_sagas(
    rows: Iterable[tuple[str, str, str, int, float]], known: Iterable[SagaDefinition]
) -> Iterator[GaugeMetricFamily]:
    """What a known workflow has none of is a 0, not a gap."""
    states = dict.fromkeys(_live_states(known), 0)
    statuses = {(workflow, status.value): 0 for workflow in _names(known) for status in sorted(LIVE)}
    parked = dict.fromkeys(((workflow,) for workflow in _names(known)), 0.0)
    for workflow, status, state, count, age in rows:
        states[workflow, state] = states.get((workflow, state), 0) + count
        statuses[workflow, status] = statuses.get((workflow, status), 0) + count
        if status == "STUCK":
            parked[workflow,] = max(age, parked.get((workflow,), 0.0))
    yield _gauge("saga_actives_current", "Live sagas, by the business's word", states, ["workflow", "etat"])
    yield _gauge("saga_statut_current", "Live sagas, by status", statuses, ["workflow", "statut"])
    yield _gauge("saga_parked_oldest_seconds", "For how long the first parked saga waits", parked, ["workflow"])


def _of_debts(
    rows: Iterable[tuple[str, str, int, float]], known: Iterable[SagaDefinition]
) -> Iterator[GaugeMetricFamily]:
    owed: dict[tuple[str, ...], float] = defaultdict(float)
    oldest = dict.fromkeys(((workflow,) for workflow in _names(known)), 0.0)
    for workflow, service, undos, age in rows:
        owed[workflow, service] += undos
        oldest[workflow,] = max(age, oldest.get((workflow,), 0.0))
    owed = {**dict.fromkeys(_debtors(known), 0.0), **owed}
    yield _gauge("saga_undo_debt_current", "Undos that parked sagas still owe", owed, ["workflow", "service"])
    yield _gauge("saga_undo_debt_oldest_seconds", "For how long the first of them is owed", oldest, ["workflow"])


def _gauge(
    name: str, says: str, values: float | dict[Any, float], labels: list[str] | None = None
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, says, labels=labels or [])
    for key, value in values.items() if isinstance(values, dict) else [((), values)]:
        family.add_metric(key, value)
    return family


def _ask(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def _names(known: Iterable[SagaDefinition]) -> list[str]:
    return sorted({definition.name for definition in known})


def _live_states(known: Iterable[SagaDefinition]) -> list[tuple[str, str]]:
    return sorted(
        {
            (definition.name, state)
            for definition in known
            for state in definition.live_states() | {definition.compensating_state}
        }
    )


def _debtors(known: Iterable[SagaDefinition]) -> list[tuple[str, str]]:
    """The participants that each workflow may have to undo something at; topics, where messages undo."""
    found = set()
    for definition in known:
        for step in definition.steps:
            if step.undo_publish:
                found.add((definition.name, step.undo_publish.topic))
            elif step.compensation:
                found.add((definition.name, step.compensation.service))
    return sorted(found)


class Reader:
    """Asks in a thread of its own, over a connection of its own, and gives up on an answer that does not come.

    A connection that is kept is there too when the server has no more to give, which is when it is asked for most.
    """

    def __init__(self, ask: Callable[[datetime], list[Any]] = numbers, seconds: float = SECONDS) -> None:
        self._ask, self._seconds = ask, seconds
        self._wanted: queue.SimpleQueue[Future[list[Any]]] = queue.SimpleQueue()
        self._lock, self._last = threading.Lock(), Future[list[Any]]()
        self._last.set_result([])
        self._started = False

    def read(self) -> list[Any]:
        """The answer. Raises TimeoutError, also while an earlier question hangs, or django.db.Error."""
        with self._lock:
            if not self._started:
                threading.Thread(target=self._serve, name="metrics", daemon=True).start()
                self._started = True
            if self._last.done():
                self._last = Future()
                self._wanted.put(self._last)
            asked = self._last
        return asked.result(self._seconds)

    def _serve(self) -> None:
        while True:
            asked = self._wanted.get()
            try:
                asked.set_result(self._ask(datetime.now(UTC)))
            except Exception as error:  # noqa: BLE001 - it is whoever asked that is told
                connection.close()
                asked.set_exception(error)


class InDatabase(Collector):
    """The numbers as Prometheus wants them, and whether they could be had."""

    def __init__(self, read: Callable[[], list[GaugeMetricFamily]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers; without them `saga_database_up` 0."""
        families: list[GaugeMetricFamily] = []
        try:
            families = self._read()
        except (Error, TimeoutError) as error:
            # The other metrics are wanted most of all now; the missing samples say the rest.
            reason = str(error).strip() or "no answer in time"
            logger.warning("the database does not tell its numbers", extra={"reason": reason})
        yield _gauge("saga_database_up", "Whether the database told its numbers at this scrape", int(bool(families)))
        yield from families
