"""Every rule that a run is judged by tells its own kind of wrong, and none complains about what is right."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from participants.assortment import PRODUCTS, STORES
from tests.chaos.clients import Note, Told
from tests.chaos.invariants import Effect, Event, Evidence, StoredSaga, check
from tests.chaos.plan import Manner, Script

ID, OTHER = "01a1fd0d-6101-74e5-8587-6a9c767fa1e6", "01a1fd0d-6101-74e5-8587-6a9c767fa1e7"
START = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECT = f"{PRODUCTS[5].id}/{STORES[0]}"
RESERVED, CREATED = ("reservation_stock", 0), ("creation_commande", 0)
SCRIPT = Script(0, "chaos-1-0", {}, Manner.REPEATS, engines_own_api=False)


def events(status, state, *told):
    """A history: `(type, place, action, outcome)` each, all answered at once; the last event has the end's words."""
    last = len(told)
    return [
        Event(
            seq=number,
            type=kind,
            status=status if number == last else "RUNNING",
            state=state if number == last else "RESERVATION_STOCK",
            step=place and place[0],
            item=place[1] if place else 0,
            action=action,
            outcome=outcome,
            reason="a reason",
            due_at=START if kind == "attempt_scheduled" else None,
            at=START + timedelta(milliseconds=number),
            attempt=1 if action else None,
            http_status=200 if outcome else None,
            actor=None,
        )
        for number, (kind, place, action, outcome) in enumerate(told, start=1)
    ]


def done(place):
    return [("attempt_scheduled", place, "do", None), ("step_succeeded", place, "do", "succeeded")]


def saga(status="COMPLETED", state="SAGA_TERMINEE", told=None, error=None, **changes):
    history = events(status, state, *(told or [*done(RESERVED), *done(CREATED), ("saga_completed", None, None, None)]))
    stored = StoredSaga(ID, status, state, len(history), error, [{}], "chaos-1-0", "chaos-1-0", "chaos", history)
    return replace(stored, **changes)


def undone(status="COMPENSATED"):
    return saga(status, "SAGA_ANNULEE", [*done(RESERVED), ("saga_compensated", None, None, None)], "rejected")


def stuck():
    return saga("STUCK", "COMPENSATION_EN_COURS", [*done(RESERVED), ("saga_parked", None, None, None)], "rejected")


def effect(number, place, operation="do", saga_id=ID):
    service = "inventaire" if place[0] == "reservation_stock" else "commandes"
    return Effect(service, number, saga_id, place, operation, SUBJECT, 2, f"2026-01-01T00:00:00.{number:03}Z")


BOTH = [effect(1, RESERVED), effect(2, CREATED)]


def told(status=201, state="SAGA_TERMINEE", saga_id=ID, code=None):
    return Note(SCRIPT, "chaos-1-0", [Told(status, saga_id, None, state, code)])


def broken(stored, effects, *notes, doomed=(), missing=0):
    """The first words of each rule that this evidence breaks; the stock is right but for what is missing."""
    reserved = sum(2 if each.operation == "do" else -2 for each in effects if each.service == "inventaire")
    stock = {f"{p.id}/{store}": n for p in PRODUCTS for store, n in zip(STORES, p.stock, strict=True)}
    stock[SUBJECT] -= reserved + missing
    by_saga = {}
    for each in effects:
        by_saga.setdefault(each.saga_id, []).append(each)
    evidence = Evidence({each.id: each for each in stored}, by_saga, stock, list(notes), frozenset(doomed))
    return {violation.rule for violation in check(evidence)}


def test_what_is_right_breaks_no_rule():
    back = [effect(1, RESERVED), effect(2, RESERVED, "undo")]
    assert broken([saga()], BOTH, told()) == set()
    assert broken([undone()], back, told(409, "SAGA_ANNULEE")) == set()
    assert broken([stuck()], BOTH[:1], told(202, "COMPENSATION_EN_COURS"), doomed={ID}) == set()


WRONG = {
    "every saga is finished, or stuck with a reason": ([saga("RUNNING")], BOTH),
    "only a saga whose undo never worked is stuck, and each of these is": ([stuck()], BOTH[:1]),
    "each step and item has at most one effect and at most one undo": ([saga()], [*BOTH, effect(3, CREATED)]),
    "a completed saga has all its effects, and no undo": ([saga()], BOTH[:1]),
    "a compensated or failed saga has no effect left": ([undone("FAILED")], BOTH[:1]),
    "undos happen in the reverse order of their dos": (
        [undone()],
        [*BOTH, effect(3, RESERVED, "undo"), effect(4, CREATED, "undo")],
    ),
    "no effect belongs to a saga that nobody knows": ([saga()], [*BOTH, effect(3, RESERVED, saga_id=OTHER)]),
    "a history has no gap, and its last event says what the saga's row says": ([saga(seq=4)], BOTH),
    "each answer in a history is that of a call that was due, and nothing follows the end": (
        [saga(told=[*done(RESERVED), ("step_succeeded", RESERVED, "do", "succeeded"), *done(CREATED)])],
        BOTH,
    ),
    "one idempotency key is one saga": ([saga(), saga(id=OTHER)], BOTH),
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_rule_tells_its_own_kind_of_wrong(rule):
    assert rule in broken(*WRONG[rule])


@pytest.mark.parametrize(
    "effects", [[], BOTH, [effect(1, RESERVED), effect(2, RESERVED, "undo")]], ids=["less", "more", "undone"]
)
def test_a_stuck_saga_owes_exactly_what_its_history_says(effects):
    assert "a stuck saga has exactly the effects left that its history says are owed" in broken(
        [stuck()], effects, doomed={ID}
    )


def test_the_stock_has_to_balance():
    assert broken([saga()], BOTH, missing=1) == {"the stock is what it was, less what is reserved"}


@pytest.mark.parametrize(
    "note",
    [
        told(409, "SAGA_ANNULEE"),
        told(201, "SAGA_ANNULEE"),
        told(201, saga_id=OTHER),
        told(500, code="internal_error"),
        told(409, code="lease_lost"),
    ],
)
def test_a_client_is_told_what_is_stored(note):
    assert "what a client was told is what is stored" in broken([saga()], BOTH, note)


def test_to_be_told_not_now_is_no_word_about_the_saga():
    assert broken([saga()], BOTH, told(503, saga_id=OTHER, code="store_unavailable")) == set()
