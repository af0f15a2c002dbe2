"""All that is known after a run: read once nothing moves any more, judged by invariants.py."""

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.clients import Note
from tests.chaos.database import Database
from tests.chaos.workloads import WORKLOADS, Place, Workload

KEY = re.compile(r"(?P<saga>[^:]+):(?P<step>\w+)(?:\[(?P<item>\d+)\])?(?::.*)?:do")
_SAGAS = """
SELECT id::text, workflow, status::text, state, seq, error ->> 'outcome', data -> 'input', correlation_id,
    idempotency_key, tenant
FROM sagas
"""
_EVENTS = """
SELECT saga_id::text, seq, type::text, status::text, state, step, COALESCE(item, 0), action::text, outcome, reason,
    due_at, at, attempt, http_status, actor
FROM saga_evenements ORDER BY saga_id, seq
"""
_COMMANDS = """
SELECT saga_id::text, COALESCE(output #>> '{body,key}', output #>> '{body,undo_of}'), action::text
FROM saga_evenements WHERE type = 'message_published'
"""
_EFFECTS = "SELECT id, saga_id, call_key, operation, subject, quantity, at FROM ledger ORDER BY id"
_SETTLED = "SELECT call_key, operation FROM saga_barrier"


@dataclass(frozen=True, slots=True)
class Event:
    """One row of a history."""

    seq: int
    type: str
    status: str
    state: str
    step: str | None
    item: int
    action: str | None
    outcome: str | None
    reason: str | None
    due_at: Any
    at: Any
    attempt: int | None
    http_status: int | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class StoredSaga:
    """One saga as PostgreSQL has it."""

    id: str
    workflow: str
    status: str
    state: str
    seq: int
    error: str | None
    given: dict[str, Any]
    correlation_id: str
    idempotency_key: str | None
    tenant: str
    events: list[Event]

    @property
    def workload(self) -> Workload:
        return WORKLOADS[self.workflow]

    @property
    def all_effects(self) -> set[Place]:
        """What it has done when it is completed."""
        return self.workload.effects(self.given)


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of a participant's ledger."""

    service: str
    id: int
    saga_id: str
    place: Place
    operation: str
    subject: str
    quantity: float
    at: str


Table = tuple[str, str]
"""A service, and SQL over its database."""
Levels = dict[Table, dict[str, float]]
"""Amounts by subject, each as it rises with effects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the saga database, the participants, the clients and the audience of `saga-events` know."""

    sagas: Mapping[str, StoredSaga]
    effects: Mapping[str, list[Effect]]
    """By saga."""
    before: Levels
    after: Levels
    things: Mapping[Table, set[str]]
    """The subjects that stand."""
    commands: list[tuple[str, str, str]]
    """Each message that a history says was sent: its saga, its key or that of what it undoes, and its action."""
    settled: set[tuple[str, str]]
    """Each key and operation that a participant has settled."""
    heard: Mapping[str, list[int]] | None
    """By saga, the numbers of its events, as they came; None without a broker."""
    notes: list[Note]
    doomed: frozenset[str]
    """The sagas that an undo was made to fail for good in."""

    def places(self, saga_id: str, operation: str) -> Counter[Place]:
        return Counter(effect.place for effect in self.effects.get(saga_id, []) if effect.operation == operation)

    def standing(self, saga_id: str) -> set[Place]:
        """The effects that were not taken back."""
        return set(self.places(saga_id, "do") - self.places(saga_id, "undo"))


class Participants:
    """The participants' databases, read beside them."""

    def __init__(self, directory: Path, workloads: Iterable[Workload]) -> None:
        self._directory, self._workloads = directory, list(workloads)
        self._services = sorted({service for workload in self._workloads for service in workload.services})

    def levels(self) -> Levels:
        return {table: {str(key): value for key, value in self._rows(*table)} for table in tables(self._workloads)[0]}

    def things(self) -> dict[Table, set[str]]:
        return {table: {str(key) for (key,) in self._rows(*table)} for table in tables(self._workloads)[1]}

    def effects(self) -> dict[str, list[Effect]]:
        """By saga."""
        found: dict[str, list[Effect]] = defaultdict(list)
        for service in self._services:
            for effect in self._ledger(service):
                found[effect.saga_id].append(effect)
        return found

    def settled(self) -> set[tuple[str, str]]:
        return {(key, operation) for service in self._services for key, operation in self._rows(service, _SETTLED)}

    def _ledger(self, service: str) -> Iterator[Effect]:
        for number, saga_id, key, operation, subject, quantity, at in self._rows(service, _EFFECTS):
            named = KEY.fullmatch(key)
            place = (named["step"], int(named["item"] or 0)) if named else (key, 0)
            yield Effect(service, number, saga_id, place, operation, subject, quantity, at)

    def _rows(self, service: str, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self._directory / f"{service}.sqlite3")) as connection:
            return connection.execute(statement).fetchall()


def tables(workloads: Iterable[Workload]) -> tuple[dict[Table, set[str]], dict[Table, set[str]]]:
    """The levels and the things that the participants show, each with the steps that change it."""
    levels: dict[Table, set[str]] = defaultdict(set)
    things: dict[Table, set[str]] = defaultdict(set)
    for workload in workloads:
        for found, shown in ((levels, workload.levels), (things, workload.things)):
            for step, statement in shown.items():
                found[workload.service(step), statement].add(step)
    return levels, things


def commands(database: Database) -> list[tuple[str, str, str]]:
    """Each message that a history says was sent."""
    return [(saga_id, key, action) for saga_id, key, action in database.rows(_COMMANDS)]


def stored_sagas(database: Database) -> dict[str, StoredSaga]:
    """By id, each with its history."""
    histories: dict[str, list[Event]] = defaultdict(list)
    for saga_id, *event in database.rows(_EVENTS):
        histories[saga_id].append(Event(*event))
    return {row[0]: StoredSaga(*row, histories[row[0]]) for row in database.rows(_SAGAS)}
