"""What must be true after any run: between the saga database, the participants' ledgers and what clients were told.

Every rule is a function of the evidence (evidence.py) that yields the sagas that break it, and how. None knows which
faults happened, but for undos that were made to fail for good; none knows a workflow, but by its `Workload`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.chaos.clients import FINAL, Told
from tests.chaos.evidence import Effect, Evidence, StoredSaga, Table, tables
from tests.chaos.workloads import WORKLOADS, Api, Place

FINISHED = frozenset({"COMPLETED", "COMPENSATED", "FAILED"})
UNDONE = frozenset({"COMPENSATED", "FAILED"})
NOT_NOW = 503
CENT = 0.005
"""Less than this is no difference between two amounts."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a saga, or the whole, breaks."""

    rule: str
    saga_id: str | None
    detail: str


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
            certain, possible = _owed(saga)
            left = evidence.standing(saga.id)
            if not certain <= left <= certain | possible:
                yield saga.id, f"left {sorted(left)}, owed {sorted(certain)}, perhaps {sorted(possible)}"


def _undone_in_reverse(evidence: Evidence) -> Found:
    """undos happen in the reverse order of their dos"""
    for saga_id, effects in evidence.effects.items():
        saga = evidence.sagas.get(saga_id)
        # What is undone by a message is undone when that arrives; nobody waits for it.
        called = saga.workload.undone_by_calls() if saga else {effect.place[0] for effect in effects}
        done = sorted((effect for effect in effects if effect.operation == "do"), key=_when)
        order = {effect.place: number for number, effect in enumerate(done)}
        undos = sorted((effect for effect in effects if effect.operation == "undo"), key=_when)
        numbers = [order.get(effect.place, -1) for effect in undos if effect.place[0] in called]
        if any(effect.place not in order for effect in undos):
            yield saga_id, "an undo without a do"
        elif numbers != sorted(numbers, reverse=True):
            yield saga_id, f"done {[effect.place for effect in done]}, undone {[effect.place for effect in undos]}"


def _no_unknown_saga(evidence: Evidence) -> Found:
    """no effect belongs to a saga that nobody knows"""
    for saga_id in evidence.effects:
        if saga_id not in evidence.sagas:
            yield saga_id, f"effects {sorted(evidence.places(saga_id, 'do'))}"


def _levels_balance(evidence: Evidence) -> Found:
    """stock, seats, points and money are what they were, and what the ledgers say has happened to them"""
    for table, steps in tables(WORKLOADS.values())[0].items():
        left = dict(evidence.after.get(table, {}))
        for subject, amount in evidence.before.get(table, {}).items():
            left[subject] = left.get(subject, 0) - amount
        for effect in _of(evidence, table, steps):
            sign = 1 if effect.operation == "do" else -1
            left[effect.subject] = left.get(effect.subject, 0) - sign * effect.quantity
        for subject, amount in left.items():
            if abs(amount) > CENT:
                yield None, f"{table[0]}: {subject} is off by {amount:g}"


def _things_stand(evidence: Evidence) -> Found:
    """orders, payments, bookings, partners and the like stand, unless the ledgers say that they were taken back"""
    for table, steps in tables(WORKLOADS.values())[1].items():
        sagas = {effect.subject: effect.saga_id for effect in _of(evidence, table, steps)}
        net: Counter[tuple[str, str]] = Counter()
        for effect in _of(evidence, table):
            net[effect.subject, effect.place[0]] += 1 if effect.operation == "do" else -1
        undone = {subject for (subject, _), count in net.items() if count <= 0}
        for subject in (set(sagas) - undone) ^ evidence.things.get(table, set()):
            yield sagas.get(subject), f"{table[0]}: {subject} stands or not, and the ledger says the contrary"


def _of(evidence: Evidence, table: Table, steps: set[str] | None = None) -> Iterator[Effect]:
    """The effects at this table's service, of these steps."""
    for effects in evidence.effects.values():
        yield from (
            effect for effect in effects if effect.service == table[0] and (steps is None or effect.place[0] in steps)
        )


def _commands_arrive(evidence: Evidence) -> Found:
    """each message that a history says was sent was carried out, or barred by what came later"""
    for saga_id, key, action in evidence.commands:
        if (key, action) not in evidence.settled:
            yield saga_id, f"nobody has settled {action} of {key}"


def _events_are_told(evidence: Evidence) -> Found:
    """every event of every saga is told, in order"""
    if evidence.heard is None:
        return
    for saga in evidence.sagas.values():
        if evidence.heard.get(saga.id, []) != list(range(1, saga.seq + 1)):
            yield saga.id, f"{saga.seq} events, heard {evidence.heard.get(saga.id, [])}"


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
            elif told.status in FINAL and not _is_what_is_stored(told, note.script.api, saga):
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
    _levels_balance,
    _things_stand,
    _commands_arrive,
    _events_are_told,
    _history_is_whole,
    _answers_match_calls,
    _told_the_truth,
    _one_key_one_saga,
)


def _when(effect: Effect) -> tuple[str, str, int]:
    """Services have clocks of a millisecond; within one its own numbers say what came first."""
    return effect.at, effect.service, effect.id


def _is_what_is_stored(told: Told, api: Api, saga: StoredSaga) -> bool:
    state = saga.workload.state(saga.status) if api.state else None
    return (told.status, told.state) == (_status_code(saga), state)


def _status_code(saga: StoredSaga) -> int:
    if saga.status == "COMPLETED":
        return 201
    return {"rejected": 409, "deadline": 504}.get(saga.error or "", 502)


def _owed(saga: StoredSaga) -> tuple[set[Place], set[Place]]:
    """The steps that a history leaves certainly done, and perhaps done: a fold of its own, to check the product's."""
    certain: set[Place] = set()
    possible: set[Place] = set()
    due: dict[Place, Any] = {}
    undoable = {step.name for step in saga.workload.definition.steps if step.undoable}
    for event in saga.events:
        if event.type == "driver_replaced":
            possible |= {place for place, at in due.items() if at <= event.at and place not in certain}
        if event.step not in undoable:
            continue
        place = (event.step, event.item)
        if event.type in _DUE and event.action == "do":
            due[place] = event.due_at
        elif event.type == "message_published":
            possible |= {place} if event.action == "do" else set()
        elif (event.type == "step_succeeded" and event.action) or (event.action, event.outcome) == ("inquire", "done"):
            certain.add(place)
        elif event.type == "undo_succeeded" or (event.action, event.outcome) in _NOT_DONE:
            certain.discard(place)
            possible.discard(place)
        elif event.action == "do" and event.outcome == "unknown":
            possible.add(place)
        if event.action == "do" and event.type not in _DUE:
            due.pop(place, None)
        possible -= certain
    return certain, possible


_DUE = {"attempt_scheduled", "attempt_postponed"}
_NOT_DONE = {("await", "rejected"), ("inquire", "not_done")}


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
