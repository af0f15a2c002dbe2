"""Sagas in PostgreSQL: every write is one named statement of sql/, in autocommit, without the ORM.

A connection that breaks is opened again and the statement repeated, which is safe because each of them is fenced:
a repeat that finds its own first try already there has simply lost the answer.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, combinations, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
import psycopg2
from django.db import OperationalError, connection

from application.ports import Claimed, Definitions, Existing, IdempotentRequest, Lease, Refused, Seen
from domain.business_ids import newly_known
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.exceptions import ContentRefused, LeaseLost, SagaError, SagaNotFound, StoreUnavailable
from domain.progress import Origin
from domain.sentences import said
from infrastructure.metrics import observe_checkpoint

logger = logging.getLogger("saga")


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement of sql/, whose `%(name)s` are parameters, as PostgreSQL's PREPARE and EXECUTE want it."""

    text: str
    prepare: str
    execute: str


def _statement(name: str, text: str) -> _Statement:
    parameters = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${parameters.index(found[1]) + 1}", text)
    values = ", ".join(f"%({parameter})s" for parameter in parameters)
    given = f" ({values})" if values else ""
    return _Statement(text=text, prepare=f"PREPARE saga_{name} AS {numbered}", execute=f"EXECUTE saga_{name}{given}")


def _statements() -> dict[str, _Statement]:
    """Each file of sql/ by its name; with parts that are `-- only` for some also as `<name>_<part>` and so on.

    A part that has nothing to do is not free: an empty insert costs a twentieth of a checkpoint.
    """
    found = {}
    for path in (Path(__file__).parent / "sql").glob("*.sql"):
        text = path.read_text()
        parts = sorted({part[1] for part in _ONLY.finditer(text)})
        for chosen in chain.from_iterable(combinations(parts, size) for size in range(len(parts) + 1)):
            name = "_".join((path.stem, *chosen))
            found[name] = _statement(name, _with(text, chosen))
    return found


def _with(text: str, parts: tuple[str, ...]) -> str:
    return _ONLY.sub(lambda part: part[0] if part[1] in parts else "", text)


_ONLY = re.compile(r"^-- only with (\w+).*?^-- always\n", re.MULTILINE | re.DOTALL)
_STATEMENTS = _statements()
_PREPARED: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
"""Which statements each open connection knows."""
_UNREADABLE = (SagaError, ValueError, LookupError, AssertionError)
"""What reading a saga back raises when its workflow, an event's word or a status that follows is not known here."""
_ENCODER = msgspec.json.Encoder()
RECONNECT_WAITS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each repetition over a new connection: long enough for PostgreSQL to restart, well within a lease."""


class PostgresSagaStore:
    """The `SagaStore` over Django's connection of the current thread."""

    def __init__(
        self,
        definitions: Definitions,
        sleep: Callable[[float], None] = time.sleep,
        events_topic: str | None = None,
    ) -> None:
        self._definitions = definitions
        self._events_topic = events_topic
        self._sleep = sleep

    def create(
        self, saga: Saga, events: Sequence[SagaEvent], lease: Lease | None, request: IdempotentRequest | None
    ) -> Existing | None:
        """See `SagaStore`. Nobody waits for the disk unless an effect, or an answer without a driver, follows."""
        origin = saga.origin
        parameters = {
            **_checkpoint_values(saga, events, self._events_topic),
            "workflow": saga.definition.name,
            "version": saga.definition.version,
            "tenant": origin.tenant,
            "correlation_id": origin.correlation_id,
            "idempotency_key": request.key if request else None,
            "request_hash": request.request_hash if request else None,
            "data": _json(_data(origin)),
            "token": lease.token if lease else None,
            "owner": lease.owner if lease else None,
            "lease_expires_at": lease.expires_at if lease and not saga.driverless else None,
            "wake_at": None if lease and not saga.driverless else saga.wake_at(),
            "deadline_at": origin.deadline_at,
        }
        if lease is None:
            parameters["sync"] = "on"
        if self._run_given(_variant("create", parameters, messages=lease is None), parameters)[0][0]:
            return None
        return self._existing(saga, request)

    def started(self, tenant: str, key: str) -> Existing | None:
        """See `SagaStore`."""
        rows = self._run("existing", {"id": None, "tenant": tenant, "idempotency_key": key})
        return Existing(rows[0][0], bytes(rows[0][1])) if rows else None

    def checkpoint(self, saga: Saga, events: Sequence[SagaEvent], lease: Lease) -> None:
        """See `SagaStore`."""
        parameters = {
            **_checkpoint_values(saga, events, self._events_topic),
            "token": lease.token,
            "lease_expires_at": None if saga.driverless else lease.expires_at,
            "wake_at": saga.wake_at() if saga.driverless else None,
            "expected_seq": events[0].seq - 1,
        }
        began = time.perf_counter()
        stored = self._run(_variant("checkpoint", parameters), parameters)[0][0]
        observe_checkpoint(parameters["sync"], time.perf_counter() - began)
        if not stored and not self._run("landed", parameters):
            raise LeaseLost(f"another driver owns saga {saga.id} now")

    def extend(self, saga: Saga, lease: Lease) -> None:
        """See `SagaStore`."""
        parameters = {"id": saga.id, "seq": saga.seq, "token": lease.token, "lease_expires_at": lease.expires_at}
        if not self._run("extend", parameters):
            raise LeaseLost(f"another driver owns saga {saga.id} now")

    def hand_over(self, saga: Saga, lease: Lease) -> None:
        """See `SagaStore`. Nothing to do when the lease was lost: the saga already has another driver."""
        parameters = {"id": saga.id, "seq": saga.seq, "token": lease.token, "wake_at": saga.wake_at()}
        self._run("hand_over", parameters)

    def make_durable(self) -> None:
        """See `SagaStore`."""
        self._run("make_durable", {})

    def load(self, saga_id: UUID) -> Saga:
        """See `SagaStore`."""
        history = self._histories([saga_id]).get(saga_id)
        if not history:
            raise SagaNotFound(said("there is no saga %(saga)s", saga=saga_id))
        return self._restore(history)

    def load_all(self, ids: Sequence[UUID]) -> dict[UUID, Saga]:
        """See `SagaStore`. One statement, however many."""
        found = {}
        for saga_id, history in self._histories(list(ids)).items():
            with suppress(*_UNREADABLE):
                found[saga_id] = self._restore(history)
        return found

    def look(self, saga_id: UUID) -> Seen:
        """See `SagaStore`. Its events are read first: a driver who comes between is seen, or fenced by `seq`."""
        saga = self.load(saga_id)
        owner, driven_until, aside = self._run("standing", {"id": saga_id})[0]
        unsent = (Refused(number, saga_id, *rest) for number, *rest in msgspec.json.decode(aside or "[]"))
        return Seen(saga, owner, driven_until, tuple(unsent))

    def intervene(self, saga: Saga, events: Sequence[SagaEvent], now: datetime) -> None:
        """See `SagaStore`. Not repeated after a lost answer: whoever asked looks again, and finds its effect there."""
        parameters = {
            **_checkpoint_values(saga, events, self._events_topic),
            "expected_seq": events[0].seq - 1,
            "wake_at": saga.wake_at(),
            "now": now,
        }
        if not self._run_given("intervene", parameters)[0][0]:
            raise LeaseLost(said("saga %(saga)s moved meanwhile", saga=saga.id))

    def next_due(self) -> datetime | None:
        """See `SagaStore`."""
        found: datetime | None = self._run("next_due", {})[0][0]
        return found

    def claim(self, lease: Lease, now: datetime, limit: int) -> list[Claimed]:
        """See `SagaStore`. A saga is read only once it is owned; one that cannot be read here holds up no other."""
        parameters = {
            "token": lease.token,
            "owner": lease.owner,
            "lease_expires_at": lease.expires_at,
            "now": now,
            "limit": limit,
        }
        due = sorted(self._run("claim", parameters), key=itemgetter(2))
        histories = self._histories([row[0] for row in due]) if due else {}
        claimed = []
        for saga_id, abandoned, _ in due:
            try:
                claimed.append(Claimed(self._restore(histories[saga_id]), abandoned))
            except _UNREADABLE as error:
                # A later release wrote it: its own processes will claim it when this lease expires.
                logger.exception("unreadable saga", extra=_known(saga_id, histories, error))
        return claimed

    def _existing(self, saga: Saga, request: IdempotentRequest | None) -> Existing | None:
        key = request.key if request else None
        parameters = {"id": saga.id, "tenant": saga.origin.tenant, "idempotency_key": key}
        saga_id, request_hash = self._run("existing", parameters)[0]
        # Its own id: the insert had committed before the connection broke, and only its answer was lost.
        return None if saga_id == saga.id else Existing(saga_id, bytes(request_hash))

    def _histories(self, ids: list[UUID]) -> dict[UUID, list[tuple[Any, ...]]]:
        """Each saga's rows of load.sql, by its id."""
        rows = self._run("load", {"ids": ids})
        return {saga_id: list(history) for saga_id, history in groupby(rows, key=itemgetter(0))}

    def _restore(self, history: list[tuple[Any, ...]]) -> Saga:
        saga_id, workflow, version, tenant, correlation_id, data, deadline_at, created_at = history[0][:8]
        stored = msgspec.json.decode(data)
        origin = Origin(
            id=saga_id,
            input=stored["input"],
            correlation_id=correlation_id,
            started_at=created_at,
            deadline_at=deadline_at,
            max_retries=stored["max_retries"],
            tenant=tenant,
            traceparent=stored.get("traceparent"),
        )
        definition = self._definitions.version(workflow, version)
        return Saga.restore(definition, origin, (_event(row[8:]) for row in history))

    def _run_given(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """A statement with what came from outside. Raises ContentRefused: the same would be refused again."""
        try:
            return self._run(name, parameters)
        except (psycopg2.DataError, ValueError) as error:  # a text with a NUL never leaves the driver
            raise ContentRefused(f"The database cannot store this: {str(error).strip()}") from error

    def _run(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement of sql/, over a new connection when the old one breaks; StoreUnavailable in the end."""
        for wait in (*RECONNECT_WAITS, None):
            try:
                return _execute(name, parameters)
            except (psycopg2.OperationalError, psycopg2.InterfaceError, OperationalError) as error:
                connection.close()
                logger.warning("database: %s", str(error).strip(), extra={"statement": name, "retry_in": wait})
                if wait is None:
                    raise StoreUnavailable from error
                self._sleep(wait)
        raise AssertionError  # the loop returns or raises


def _execute(name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement on this thread's connection, prepared there once: planning costs as much as running.

    The driver's own cursor: Django's would first ask whether the connection is alive, and `_run` finds out anyway.
    """
    connection.ensure_connection()
    session = connection.connection
    prepared = _PREPARED.setdefault(session, set())
    with session.cursor() as cursor:
        if name not in prepared:
            cursor.execute(_STATEMENTS[name].prepare)
            prepared.add(name)
        cursor.execute(_STATEMENTS[name].execute, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _checkpoint_values(saga: Saga, events: Sequence[SagaEvent], events_topic: str | None = None) -> dict[str, Any]:
    return {
        "id": saga.id,
        "status": saga.status.value,
        "state": saga.state,
        "error": _json(saga.failure) if saga.failure else None,
        "debts": _json(saga.debts_by_service()) if saga.status is SagaStatus.STUCK else None,
        "seq": saga.seq,
        "at": events[-1].at,
        "finished_at": saga.finished_at,
        "sync": "on" if saga.must_be_durable else "off",
        "events": _json(events),
        "messages": _messages(saga, events, events_topic),
        "business_ids": _business_ids(saga, events),
    }


def _variant(statement: str, parameters: dict[str, Any], *, messages: bool = False) -> str:
    """The statement with the parts that have something to do, as `_statements` names it."""
    ids = "_ids" if parameters["business_ids"] is not None else ""
    return f"{statement}{ids}{'_messages' if messages or parameters['messages'] is not None else ''}"


def _business_ids(saga: Saga, events: Sequence[SagaEvent]) -> str | None:
    """Those that became known with these events."""
    known = newly_known(saga, events)
    return _json([{"value": value, "name": name} for name, value in known.items()]) if known else None


def _known(saga_id: UUID, histories: dict[UUID, list[tuple[Any, ...]]], error: Exception) -> dict[str, str]:
    """What can be said of a saga that cannot be read."""
    rows = histories.get(saga_id)
    known = {"saga_id": str(saga_id), "reason": str(error)}
    return {**known, "correlation_id": rows[0][4]} if rows else known


def _data(origin: Origin) -> dict[str, Any]:
    """What is fixed and has no column. What an earlier release does not know of it, it leaves alone."""
    data = {"input": origin.input, "max_retries": origin.max_retries}
    return {**data, "traceparent": origin.traceparent} if origin.traceparent else data


def _messages(saga: Saga, events: Sequence[SagaEvent], events_topic: str | None) -> str | None:
    """What the outbox gets with these events: what the workflow sends, and with a topic for them the events."""
    sent = [
        {"seq": event.seq, "topic": event.output["topic"], "payload": event.output["body"]}
        for event in events
        if event.type is EventType.MESSAGE_PUBLISHED
    ]
    if events_topic is not None:
        about = {"saga_id": saga.id, "workflow": saga.definition.name, "correlation_id": saga.origin.correlation_id}
        sent += [{"seq": e.seq, "topic": events_topic, "payload": {**about, **_fields(e)}} for e in events]
    return _json(sent) if sent else None


def _fields(event: SagaEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in SagaEvent.__slots__}


def _json(value: Any) -> str:
    return _ENCODER.encode(value).decode()


def _event(row: tuple[Any, ...]) -> SagaEvent:
    (
        seq, kind, at, status, state, previous_state, step, item, action, attempt, outcome, reason, output, due_at,
        service, http_method, http_status, duration, actor,
    ) = row  # fmt: skip
    return SagaEvent(
        seq=seq,
        type=EventType(kind),
        at=at,
        status=SagaStatus(status),
        state=state,
        previous_state=previous_state,
        step=step,
        item=item,
        action=Action(action) if action else None,
        attempt=attempt,
        outcome=outcome,
        reason=reason,
        output=None if output is None else msgspec.json.decode(output),
        due_at=due_at,
        service=service,
        http_method=http_method,
        http_status=http_status,
        duration=duration,
        actor=actor,
    )
