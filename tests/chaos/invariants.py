"""What must be true after any run: between the saga database, the participants' ledgers and what clients were told.

Every rule is a function of the evidence that yields the sagas that break it, and how. None knows which faults happened,
but for undos that were made to fail for good.
"""

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from participants.assortment import PRODUCTS, STORES
from tests.chaos.clients import FINAL, Note
from tests.chaos.database import Database

KEY = re.compile(r"(?P<saga>[^:]+):(?P<step>[a-z_]+)(?:\[(?P<item>\d+)\])?(?::.*)?:do")
FINISHED = frozenset({"COMPLETED", "COMPENSATED", "FAILED"})
UNDONE = frozenset({"COMPENSATED", "FAILED"})
UNDOABLE = frozenset({"reservation_stock", "creation_commande"})
STATES = {"COMPLETED": "SAGA_TERMINEE", "COMPENSATED": "SAGA_ANNULEE", "FAILED": "SAGA_ANNULEE"}
NOT_NOW = 503
Place = tuple[str, int]
"""A step and the number of its item."""

_SAGAS = """
SELECT id::text, status::text, state, seq, error ->> 'outcome', data #> '{input,lignes}', correlation_id,
    idempotency_key, tenant
FROM sagas
"""
_EVENTS = """
SELECT saga_id::text, seq, type::text, status::text, state, step, COALESCE(item, 0), action::text, outcome, reason,
    due_at, at, attempt, http_status, actor
FROM saga_evenements ORDER BY saga_id, seq
"""
_EFFECTS = "SELECT id, saga_id, call_key, operation, subject, quantity, at FROM ledger ORDER BY id"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a saga, or the whole, breaks."""

    rule: str
    saga_id: str | None
    detail: str


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
    status: str
    state: str
    seq: int
    error: str | None
    lines: list[Mapping[str, Any]]
    correlation_id: str
    idempotency_key: str | None
    tenant: str
    events: list[Event]

    @property
    def all_effects(self) -> set[Place]:
        return {("creation_commande", 0), *(("reservation_stock", item) for item in range(len(self.lines)))}


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


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known after a run."""

    sagas: Mapping[str, StoredSaga]
    effects: Mapping[str, list[Effect]]
    """By saga."""
    stock: Mapping[str, int]
    """What inventaire has left, by `product/store`."""
    notes: list[Note]
    doomed: frozenset[str]
    """The sagas that an undo was made to fail for good in."""

    def places(self, saga_id: str, operation: str) -> Counter[Place]:
        return Counter(effect.place for effect in self.effects.get(saga_id, []) if effect.operation == operation)

    def standing(self, saga_id: str) -> set[Place]:
        """The effects that were not taken back."""
        return set(self.places(saga_id, "do") - self.places(saga_id, "undo"))


def gather(database: Database, directory: Path, notes: list[Note], doomed: set[str]) -> Evidence:
    """Read everything; nothing may move any more."""
    histories: dict[str, list[Event]] = defaultdict(list)
    for saga_id, *event in database.rows(_EVENTS):
        histories[saga_id].append(Event(*event))
    sagas = {row[0]: StoredSaga(*row, histories[row[0]]) for row in database.rows(_SAGAS)}
    effects: dict[str, list[Effect]] = defaultdict(list)
    for service in ("inventaire", "commandes"):
        for effect in _ledger(directory / f"{service}.sqlite3", service):
            effects[effect.saga_id].append(effect)
    with closing(sqlite3.connect(directory / "inventaire.sqlite3")) as connection:
        rows = connection.execute("SELECT produit_id || '/' || magasin_id, quantite_disponible FROM stock_local")
        stock = dict(rows.fetchall())
    return Evidence(sagas, effects, stock, notes, frozenset(doomed))


def _ledger(path: Path, service: str) -> Iterator[Effect]:
    with closing(sqlite3.connect(path)) as connection:
        for number, saga_id, key, operation, subject, quantity, at in connection.execute(_EFFECTS):
            named = KEY.fullmatch(key)
            place = (named["step"], int(named["item"] or 0)) if named else (key, 0)
            yield Effect(service, number, saga_id, place, operation, subject, quantity, at)


def check(evidence: Evidence) -> list[Violation]:
    """Every rule that is broken, and by whom."""
    return [
        Violation((rule.__doc__ or "").strip(), saga_id, detail) for rule in RULES for saga_id, detail in rule(evidence)
    ]


Found = Iterator[tuple[str | None, str]]


def _rests(evidence: Evidence) -> Found:
    """every saga is finished, or stuck with a reason"""
    for saga in evidence.sagas.values():
        if saga.status not in FINISHED | {"STUCK"}:
            yield saga.id, f"it is {saga.status}"
        elif saga.status == "STUCK" and not (saga.events and saga.events[-1].reason):
            yield saga.id, "it is STUCK without a reason"


def _stuck_only_where_an_undo_never_works(evidence: Evidence) -> Found:
    """only a saga whose undo never worked is stuck, and each of these is"""
    for saga in evidence.sagas.values():
        if (saga.status == "STUCK") != (saga.id in evidence.doomed):
            yield saga.id, f"it is {saga.status}"


def _at_most_once(evidence: Evidence) -> Found:
    """each step and item has at most one effect and at most one undo"""
    for saga_id in evidence.effects:
        for operation in ("do", "undo"):
            for place, count in evidence.places(saga_id, operation).items():
                if count > 1:
                    yield saga_id, f"{count} times {operation} of {place}"


def _completed_has_all(evidence: Evidence) -> Found:
    """a completed saga has all its effects, and no undo"""
    for saga in evidence.sagas.values():
        if saga.status == "COMPLETED":
            done, undone = set(evidence.places(saga.id, "do")), set(evidence.places(saga.id, "undo"))
            if done != saga.all_effects or undone:
                yield saga.id, f"done {sorted(done)}, undone {sorted(undone)}, of {sorted(saga.all_effects)}"


def _undone_has_none(evidence: Evidence) -> Found:
    """a compensated or failed saga has no effect left"""
    for saga in evidence.sagas.values():
        if saga.status in UNDONE and (left := evidence.standing(saga.id)):
            yield saga.id, f"it is {saga.status}, and there is still {sorted(left)}"


def _stuck_owes_what_it_says(evidence: Evidence) -> Found:
    """a stuck saga has exactly the effects left that its history says are owed"""
    for saga in evidence.sagas.values():
        if saga.status == "STUCK":
            certain, possible = _owed(saga.events)
            left = evidence.standing(saga.id)
            if not certain <= left <= certain | possible:
                yield saga.id, f"left {sorted(left)}, owed {sorted(certain)}, perhaps {sorted(possible)}"


def _undone_in_reverse(evidence: Evidence) -> Found:
    """undos happen in the reverse order of their dos"""
    for saga_id, effects in evidence.effects.items():
        done = sorted((effect for effect in effects if effect.operation == "do"), key=_when)
        order = {effect.place: number for number, effect in enumerate(done)}
        undos = sorted((effect for effect in effects if effect.operation == "undo"), key=_when)
        numbers = [order.get(effect.place, -1) for effect in undos]
        if -1 in numbers:
            yield saga_id, "an undo without a do"
        elif numbers != sorted(numbers, reverse=True):
            yield saga_id, f"done {[effect.place for effect in done]}, undone {[effect.place for effect in undos]}"


def _no_unknown_saga(evidence: Evidence) -> Found:
    """no effect belongs to a saga that nobody knows"""
    for saga_id in evidence.effects:
        if saga_id not in evidence.sagas:
            yield saga_id, f"effects {sorted(evidence.places(saga_id, 'do'))}"


def _stock_balances(evidence: Evidence) -> Found:
    """the stock is what it was, less what is reserved"""
    left = {
        f"{product.id}/{store}": units
        for product in PRODUCTS
        for store, units in zip(STORES, product.stock, strict=True)
    }
    for effects in evidence.effects.values():
        for effect in effects:
            if effect.service == "inventaire":
                left[effect.subject] -= int(effect.quantity) * (1 if effect.operation == "do" else -1)
    for place, units in left.items():
        if evidence.stock[place] != units:
            yield None, f"{place} has {evidence.stock[place]}, and should have {units}"


def _history_is_whole(evidence: Evidence) -> Found:
    """a history has no gap, and its last event says what the saga's row says"""
    for saga in evidence.sagas.values():
        numbers = [event.seq for event in saga.events]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            yield saga.id, f"events {numbers}"
        elif (saga.seq, saga.status, saga.state) != (numbers[-1], saga.events[-1].status, saga.events[-1].state):
            last = saga.events[-1]
            row = (saga.seq, saga.status, saga.state)
            yield saga.id, f"the row says {row}, the history {(last.seq, last.status, last.state)}"


def _answers_match_calls(evidence: Evidence) -> Found:
    """each answer in a history is that of a call that was due, and nothing follows the end"""
    for saga in evidence.sagas.values():
        pending: Counter[tuple[Any, ...]] = Counter()
        for event in saga.events:
            call = (event.step, event.item, event.action, event.attempt)
            if event.type == "attempt_scheduled":
                pending[call] += 1
            elif event.action is not None and event.type != "attempt_postponed":
                pending[call] -= 1
                if pending[call] and event.http_status is not None:
                    yield saga.id, f"event {event.seq} answers a call that was not due"
                    break
            if event.status in FINISHED and event is not saga.events[-1]:
                yield saga.id, f"event {event.seq} is not the last, and the saga is {event.status}"
                break


def _told_the_truth(evidence: Evidence) -> Found:
    """what a client was told is what is stored"""
    for note in evidence.notes:
        for told in note.answers:
            saga = evidence.sagas.get(told.saga_id or "")
            if told.status == NOT_NOW:
                continue  # not a word about the saga, which may not even exist
            if told.code or told.status not in FINAL | {202}:
                yield told.saga_id, f"{note.script.correlation_id} was told {told.status} {told.code}"
            elif saga is None:
                yield told.saga_id, f"{note.script.correlation_id} was told {told.status} about a saga that is lost"
            elif saga.correlation_id != note.script.correlation_id:
                yield told.saga_id, f"{note.script.correlation_id} was shown the saga of {saga.correlation_id}"
            elif told.status in FINAL and (told.status, told.state) != (_status_code(saga), STATES.get(saga.status)):
                yield saga.id, f"told {told.status} {told.state}, stored {saga.status} ({saga.error})"
            elif told.status_word in FINISHED | {"STUCK"} and told.status_word != saga.status:
                yield saga.id, f"told {told.status_word}, stored {saga.status}"


def _one_key_one_saga(evidence: Evidence) -> Found:
    """one idempotency key is one saga"""
    by_key = Counter((saga.tenant, saga.idempotency_key) for saga in evidence.sagas.values() if saga.idempotency_key)
    for (_, key), count in by_key.items():
        if count > 1:
            yield None, f"{count} sagas of the key {key}"
    for note in evidence.notes:
        told = {told.saga_id for told in note.answers if told.saga_id and told.status != NOT_NOW}
        if note.key and len(told) > 1:
            yield None, f"the key {note.key} was answered with {sorted(told)}"


RULES: tuple[Callable[[Evidence], Found], ...] = (
    _rests,
    _stuck_only_where_an_undo_never_works,
    _at_most_once,
    _completed_has_all,
    _undone_has_none,
    _stuck_owes_what_it_says,
    _undone_in_reverse,
    _no_unknown_saga,
    _stock_balances,
    _history_is_whole,
    _answers_match_calls,
    _told_the_truth,
    _one_key_one_saga,
)


def _when(effect: Effect) -> tuple[str, str, int]:
    """Services have clocks of a millisecond; within one its own numbers say what came first."""
    return effect.at, effect.service, effect.id


def _status_code(saga: StoredSaga) -> int:
    if saga.status == "COMPLETED":
        return 201
    return {"rejected": 409, "deadline": 504}.get(saga.error or "", 502)


def _owed(events: list[Event]) -> tuple[set[Place], set[Place]]:
    """The steps that a history leaves certainly done, and perhaps done: a fold of its own, to check the product's."""
    certain: set[Place] = set()
    possible: set[Place] = set()
    due: dict[Place, Any] = {}
    for event in events:
        if event.type == "driver_replaced":
            possible |= {place for place, at in due.items() if at <= event.at and place not in certain}
        if event.step not in UNDOABLE:
            continue
        place = (event.step, event.item)
        if event.type == "attempt_scheduled" and event.action == "do":
            due[place] = event.due_at
        elif event.action == "do":
            due.pop(place, None)
            if event.type == "step_succeeded":
                certain.add(place)
                possible.discard(place)
            elif event.outcome == "unknown":
                possible.add(place)
        elif event.type == "undo_succeeded":
            certain.discard(place)
            possible.discard(place)
    return certain, possible


def history(evidence: Evidence, saga_id: str) -> str:
    """A saga and its events and effects, to be read by a person."""
    saga = evidence.sagas.get(saga_id)
    lines = [f"saga {saga_id}: {saga.status} {saga.state} seq {saga.seq}" if saga else f"saga {saga_id}: not stored"]
    for event in saga.events if saga else []:
        facts = (event.type, event.step, event.item, event.action, event.attempt, event.outcome, event.reason)
        told = " ".join(str(fact) for fact in facts if fact is not None)
        lines.append(f"  {event.seq:3} {event.at:%H:%M:%S.%f} {event.status} {event.state}: {told} {event.actor or ''}")
    lines += [
        f"  effect {effect.at[11:]} {effect.service} {effect.operation} {effect.place} {effect.quantity}"
        for effect in sorted(evidence.effects.get(saga_id, []), key=_when)
    ]
    return "\n".join(lines)
