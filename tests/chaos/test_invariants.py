"""Every rule that a run is judged by tells its own kind of wrong, and none complains about what is right."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.clients import Note, Told
from tests.chaos.evidence import Effect, Event, Evidence, StoredSaga
from tests.chaos.invariants import check
from tests.chaos.plan import Manner, Script
from tests.chaos.workloads import WORKLOADS

ID, OTHER = "01a1fd0d-6101-74e5-8587-6a9c767fa1e6", "01a1fd0d-6101-74e5-8587-6a9c767fa1e7"
START = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECT = "bag/shop"
RESERVED, CREATED = ("reservation_stock", 0), ("creation_commande", 0)
ORDERS, PARTNERS = WORKLOADS["commandes"], WORKLOADS["partner_creation"]
SCRIPT = Script(0, "chaos-1-0", ORDERS.name, {}, Manner.REPEATS, ORDERS.own_api)


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
    given = {"lignes": [{}]}
    row = (ID, ORDERS.name, status, state, len(history), error, given, "chaos-1-0", "chaos-1-0", "chaos")
    stored = StoredSaga(*row, history)
    return replace(stored, **changes)


def undone(status="COMPENSATED"):
    return saga(status, "SAGA_ANNULEE", [*done(RESERVED), ("saga_compensated", None, None, None)], "rejected")


def stuck():
    return saga("STUCK", "COMPENSATION_EN_COURS", [*done(RESERVED), ("saga_parked", None, None, None)], "rejected")


def effect(number, place, operation="do", saga_id=ID):
    service = "inventaire" if place[0] == "reservation_stock" else "commandes"
    subject = SUBJECT if service == "inventaire" else "order-1"
    return Effect(service, number, saga_id, place, operation, subject, 2, f"2026-01-01T00:00:00.{number:03}Z")


BOTH = [effect(1, RESERVED), effect(2, CREATED)]


def told(status=201, state="SAGA_TERMINEE", saga_id=ID, code=None):
    return Note(SCRIPT, "chaos-1-0", [Told(status, saga_id, None, state, code)])


LEVEL, THING = ("inventaire", ORDERS.levels["reservation_stock"]), ("commandes", ORDERS.things["creation_commande"])


def evidence(stored, effects, *notes, doomed=(), missing=0, **more):
    """What is known; what the participants show is right but for what is missing."""
    reserved = sum(2 if each.operation == "do" else -2 for each in effects if each.service == "inventaire")
    orders = Counter(each.operation for each in effects if each.service == "commandes")
    by_saga = {}
    for each in effects:
        by_saga.setdefault(each.saga_id, []).append(each)
    known = {
        "sagas": {each.id: each for each in stored},
        "effects": by_saga,
        "before": {LEVEL: {SUBJECT: -100}},
        "after": {LEVEL: {SUBJECT: -100 + reserved + missing}},
        "things": {THING: {"order-1"} if orders["do"] > orders["undo"] else set()},
        "commands": [],
        "settled": set(),
        "heard": None,
        "notes": list(notes),
        "doomed": frozenset(doomed),
    }
    return Evidence(**{**known, **more})


def broken(stored, effects, *notes, **more):
    """The first words of each rule that this evidence breaks."""
    return {violation.rule for violation in check(evidence(stored, effects, *notes, **more))}


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
    assert broken([saga()], BOTH, missing=1) == {
        "stock, seats, points and money are what they were, and what the ledgers say has happened to them"
    }


@pytest.mark.parametrize("things", [set(), {"order-1", "order-2"}], ids=["less", "more"])
def test_an_order_stands_as_the_ledger_says(things):
    assert broken([saga()], BOTH, things={THING: things}) == {
        "orders, payments, bookings, partners and the like stand, unless the ledgers say that they were taken back"
    }


def test_a_message_that_was_sent_has_to_arrive():
    sent = [(ID, f"{ID}:create_alliance:do", "do")]
    assert broken([saga()], BOTH, commands=sent, settled={(sent[0][1], "do")}) == set()
    assert broken([saga()], BOTH, commands=sent, settled={(sent[0][1], "undo")}) == {
        "each message that a history says was sent was carried out, or barred by what came later"
    }


def test_every_event_is_told_in_order():
    stored = saga()
    numbers = list(range(1, stored.seq + 1))
    assert broken([stored], BOTH, heard={ID: numbers}) == set()
    for heard in ({}, {ID: numbers[:-1]}, {ID: numbers[1::-1] + numbers[2:]}):
        assert broken([stored], BOTH, heard=heard) == {"every event of every saga is told, in order"}


def partner(*told, status="STUCK", state="compensating"):
    given, history = {}, events(status, state, *told)
    row = (ID, PARTNERS.name, status, state, len(history), "unknown", given, "chaos-1-0", None, "chaos")
    return StoredSaga(*row, history)


PARTNER, ALLIANCE = ("create_partner", 0), ("create_alliance", 0)
SENT = ("message_published", ALLIANCE, "do", None)
PARKED = ("saga_parked", None, None, None)


@pytest.mark.parametrize(
    ("told", "left", "right"),
    [
        ([*done(PARTNER), SENT, PARKED], [PARTNER, ALLIANCE], True),
        ([*done(PARTNER), SENT, PARKED], [PARTNER], True),
        ([*done(PARTNER), SENT, PARKED], [ALLIANCE], False),
        ([*done(PARTNER), SENT, ("attempt_failed", ALLIANCE, "await", "rejected"), PARKED], [PARTNER, ALLIANCE], False),
        ([*done(PARTNER), SENT, ("undo_succeeded", ALLIANCE, "undo", "sent"), PARKED], [PARTNER, ALLIANCE], False),
        ([*done(PARTNER), SENT, ("step_succeeded", ALLIANCE, "await", "succeeded"), PARKED], [PARTNER], False),
        ([("inquiry_answered", PARTNER, "inquire", "done"), PARKED], [PARTNER], True),
        ([("inquiry_answered", PARTNER, "inquire", "not_done"), PARKED], [PARTNER], False),
    ],
)
def test_a_stuck_saga_owes_what_messages_and_inquiries_say_too(told, left, right):
    services = {PARTNER: "integraciones", ALLIANCE: "alianzas"}
    effects = [
        Effect(services[place], number, ID, place, "do", f"{place}", 1, f"2026-01-01T00:00:00.{number:03}Z")
        for number, place in enumerate(left)
    ]
    rule = "a stuck saga has exactly the effects left that its history says are owed"
    assert (rule not in broken([partner(*told)], effects, doomed={ID})) == right


def test_what_is_undone_by_a_message_may_be_undone_last():
    places = [(PARTNER, "do"), (ALLIANCE, "do"), (PARTNER, "undo"), (ALLIANCE, "undo")]
    effects = [
        Effect("alianzas", number, ID, place, operation, f"{place}", 1, f"2026-01-01T00:00:00.{number:03}Z")
        for number, (place, operation) in enumerate(places)
    ]
    rule = "undos happen in the reverse order of their dos"
    assert rule not in broken([partner(PARKED)], effects)
    assert rule in broken([saga()], [effect(1, RESERVED), effect(2, CREATED), effect(3, RESERVED, "undo"),
                                     effect(4, CREATED, "undo")])  # fmt: skip


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
