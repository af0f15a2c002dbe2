"""What every store promises, held against the one in memory and the one in PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.ports import Existing, IdempotentRequest, Refused
from domain.exceptions import LeaseLost, SagaNotFound
from domain.outcomes import Rejected, Succeeded, Unavailable
from infrastructure.definition_store import DefinitionStore
from infrastructure.models import OutboxRow
from infrastructure.saga_store import PostgresSagaStore
from tests.support.dialogue import START
from tests.support.memory_store import MemorySagaStore
from tests.support.stored_sagas import MINUTE, WORKFLOW, driven, everything, found_by, lease, new_saga, same

REQUEST = IdempotentRequest("key-1", b"hash")


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Any:
    return MemorySagaStore() if request.param == "memory" else request.getfixturevalue("postgres_store")


@pytest.fixture
def postgres_store(transactional_db: None) -> Iterator[PostgresSagaStore]:
    definitions = DefinitionStore([WORKFLOW])
    definitions.register()
    yield PostgresSagaStore(definitions, sleep=lambda _: None)
    connection.close()


def test_a_saga_is_read_back_as_it_was_written(store):
    saga, held = driven(store)
    assert same(store.load(saga.id), saga)
    store.checkpoint(saga, saga.record(Succeeded({"text": "é", "list": [1, None, 2.5]}), START), held)
    store.checkpoint(saga, saga.record(Unavailable("busy", retry_after=3), START), held)
    assert same(store.load(saga.id), saga)


def test_the_trace_of_a_saga_is_read_back_with_it(store):
    saga, events = new_saga(traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    store.create(saga, events, lease(), None)
    assert same(store.load(saga.id), saga)


def test_several_sagas_are_read_at_once_and_an_unknown_one_is_left_out(store):
    sagas = [driven(store)[0] for _ in range(3)]
    found = store.load_all([sagas[2].id, uuid4(), sagas[0].id])
    assert set(found) == {sagas[0].id, sagas[2].id}
    assert all(same(found[saga.id], saga) for saga in (sagas[0], sagas[2]))
    assert store.load_all([]) == {}


def test_an_unknown_saga_is_not_found(store):
    with pytest.raises(SagaNotFound):
        store.load(uuid4())


# --- the fence ------------------------------------------------------------------------------------------------------


def test_a_driver_without_the_lease_changes_nothing(store):
    saga, _ = driven(store)
    before = everything(store)
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, saga.record(Succeeded(), START), lease())
    assert everything(store) == before


def test_a_driver_that_was_replaced_is_fenced_off(store):
    saga, held = driven(store)
    new = lease(90)
    taken = store.claim(new, START + MINUTE, 10)[0].saga
    before = everything(store)
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, saga.record(Rejected("late"), START), held)
    assert everything(store) == before
    store.checkpoint(taken, taken.record(Succeeded(), START), new)
    assert same(store.load(saga.id), taken)


@pytest.mark.parametrize("seconds", [0, 1, 60], ids=["at the same time", "later", "with more events"])
def test_a_driver_that_is_behind_is_fenced_off(store, seconds):
    saga, held = driven(store)
    behind = store.load(saga.id)
    store.checkpoint(saga, saga.record(Succeeded(1), START), held)
    before = everything(store)
    with pytest.raises(LeaseLost):
        store.checkpoint(behind, behind.record(Succeeded(2), START + timedelta(seconds=seconds)), held)
    assert everything(store) == before


def test_a_driver_that_is_ahead_of_what_is_stored_is_fenced_off(store):
    saga, held = driven(store)
    saga.record(Succeeded(1), START)
    before = everything(store)
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, saga.record(Succeeded(2), START), held)
    assert everything(store) == before


def test_a_saga_that_is_not_stored_cannot_be_moved_on(store):
    saga, _ = new_saga()
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, saga.record(Succeeded(), START), lease())
    with pytest.raises(SagaNotFound):
        store.load(saga.id)


@pytest.mark.parametrize("outcomes", [1, 2], ids=["on its way", "at its end"])
def test_a_checkpoint_whose_answer_was_lost_can_be_repeated(store, outcomes):
    saga, held = driven(store)
    for _ in range(outcomes):
        events = saga.record(Succeeded({"n": 1.50}), START)
        store.checkpoint(saga, events, held)
    before = everything(store)
    store.checkpoint(saga, events, held)
    assert everything(store) == before


def test_a_repeated_checkpoint_is_refused_once_another_driver_has_the_saga(store):
    saga, held = driven(store)
    events = saga.record(Succeeded(1), START)
    store.checkpoint(saga, events, held)
    store.claim(lease(90), START + MINUTE, 1)
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, events, held)


# --- leases and claiming --------------------------------------------------------------------------------------------


def test_a_saga_with_a_driver_is_not_claimed_before_its_lease_expires(store):
    saga, _ = driven(store)
    assert store.claim(lease(90), START + timedelta(seconds=29), 10) == []
    [claimed] = store.claim(lease(90), START + timedelta(seconds=30), 10)
    assert same(claimed.saga, saga)
    assert claimed.abandoned


def test_a_checkpoint_renews_the_lease(store):
    saga, held = driven(store)
    store.checkpoint(saga, saga.record(Succeeded(), START), lease(50, held.token))
    assert store.claim(lease(90), START + timedelta(seconds=49), 10) == []
    assert len(store.claim(lease(90), START + timedelta(seconds=50), 10)) == 1


def test_a_saga_that_was_handed_over_is_claimed_when_its_call_is_due(store):
    saga, held = driven(store)
    store.checkpoint(saga, saga.record(Unavailable("busy", retry_after=10), START), held)
    store.hand_over(saga, held)
    due_at = saga.wake_at()
    assert store.claim(lease(90), due_at - timedelta(seconds=1), 10) == []
    [claimed] = store.claim(lease(90), due_at, 10)
    assert not claimed.abandoned
    assert store.claim(lease(90), due_at, 10) == []


def test_a_lease_may_be_extended_by_whoever_holds_it(store):
    saga, held = driven(store, lease(20))
    longer = replace(held, expires_at=START + timedelta(seconds=70), seconds=70)

    store.extend(saga, longer)

    assert store.claim(lease(90), START + timedelta(seconds=69), 10) == []
    assert same(store.load(saga.id), saga)
    store.checkpoint(saga, saga.record(Succeeded(), START), longer)


def test_a_lease_that_was_lost_is_not_extended(store):
    saga, held = driven(store, lease(20))
    [taken] = store.claim(lease(90), START + MINUTE, 10)
    before = everything(store)

    with pytest.raises(LeaseLost):
        store.extend(saga, replace(held, expires_at=START + 9 * MINUTE))
    assert everything(store) == before
    handed, own = driven(store)
    store.hand_over(handed, own)
    with pytest.raises(LeaseLost):
        store.extend(handed, own)
    assert taken.saga.id == saga.id


def test_a_saga_without_a_driver_is_claimed_at_once(store):
    saga, events = new_saga()
    store.create(saga, events, None, None)
    [claimed] = store.claim(lease(), START, 10)
    assert same(claimed.saga, saga)
    assert not claimed.abandoned


def test_a_driver_that_lost_its_lease_or_is_behind_cannot_hand_the_saga_over(store):
    saga, held = driven(store)
    behind = store.load(saga.id)
    store.checkpoint(saga, saga.record(Succeeded(), START), held)
    before = everything(store)
    store.hand_over(behind, held)
    assert everything(store) == before
    store.claim(lease(90), START + MINUTE, 10)
    before = everything(store)
    store.hand_over(saga, held)
    assert everything(store) == before


@pytest.mark.parametrize(
    ("status", "outcomes"),
    [
        ("COMPLETED", [Succeeded(), Succeeded()]),
        ("FAILED", [Rejected("no")]),
        ("COMPENSATED", [Succeeded(), Rejected("no"), Succeeded()]),
        ("STUCK", [Succeeded(), Rejected("no"), Rejected("no undo")]),
    ],
)
def test_a_saga_that_rests_has_no_driver_and_is_never_claimed(store, status, outcomes):
    saga, held = driven(store)
    for outcome in outcomes:
        store.checkpoint(saga, saga.record(outcome, START), held)
    assert saga.status == status
    before = everything(store)
    store.hand_over(saga, held)
    assert store.claim(lease(), START + 1000 * MINUTE, 10) == []
    assert everything(store) == before


def test_claiming_takes_the_oldest_first_and_no_more_than_it_may(store):
    sagas = [driven(store, lease(seconds))[0] for seconds in (3, 1, 4, 2)]
    claimed = store.claim(lease(90), START + MINUTE, 3)
    assert [one.saga.id for one in claimed] == [sagas[1].id, sagas[3].id, sagas[0].id]
    [claimed] = store.claim(lease(90), START + MINUTE, 3)
    assert claimed.saga.id == sagas[2].id


def test_the_next_due_time_is_that_of_the_first_lease_or_call(store):
    assert store.next_due() is None
    saga, held = driven(store, lease(20))
    assert store.next_due() == START + timedelta(seconds=20)
    store.checkpoint(saga, saga.record(Unavailable("busy", retry_after=10), START), held)
    store.hand_over(saga, held)
    assert store.next_due() == START + timedelta(seconds=10)
    store.claim(lease(90), START + MINUTE, 1)
    assert store.next_due() == START + timedelta(seconds=90)


def test_a_look_says_who_drives(store):
    saga, held = driven(store)
    seen = store.look(saga.id)
    assert (seen.owner, seen.driven_until) == (held.owner, held.expires_at)
    assert same(seen.saga, saga)
    store.hand_over(saga, held)
    assert store.look(saga.id).driven_until is None
    with pytest.raises(SagaNotFound):
        store.look(uuid4())


def test_a_look_says_what_of_it_no_broker_took(store):
    saga, _ = driven(store)
    other, _ = driven(store)
    assert store.look(saga.id).unsent == ()
    aside = put_aside(store, saga, "commands", "too large")
    put_aside(store, other, "commands", "another saga's")
    assert store.look(saga.id).unsent == (aside,)


def put_aside(store, saga, topic, reason):
    if isinstance(store, MemorySagaStore):
        store.refused.append(Refused(len(store.refused) + 1, saga.id, 1, topic, reason))
        return store.refused[-1]
    facts = {"saga_id": saga.id, "seq": 1, "topic": topic}
    row = OutboxRow.objects.create(**facts, payload={}, created_at=START, refused=reason)
    return Refused(row.id, saga.id, 1, topic, reason)


# --- business ids ---------------------------------------------------------------------------------------------------


def test_an_id_is_stored_with_what_made_it_known(store):
    saga, held = driven(store)
    assert found_by(store, saga.id) == {("number", "1")}
    store.checkpoint(saga, saga.record(Unavailable("busy"), START), held)
    assert found_by(store, saga.id) == {("number", "1")}
    store.checkpoint(saga, saga.record(Succeeded({"id": "r-7"}), START), held)
    assert found_by(store, saga.id) == {("number", "1"), ("receipt", "r-7")}
    store.checkpoint(saga, saga.record(Succeeded({"id": 2.0}), START), held)
    assert found_by(store, saga.id) == {("number", "1"), ("receipt", "r-7"), ("both", "1-2.0")}


def test_an_undone_saga_is_found_as_before(store):
    saga, held = driven(store)
    for outcome in (Succeeded({"id": "r-7"}), Rejected("no"), Succeeded()):
        store.checkpoint(saga, saga.record(outcome, START), held)
    assert saga.status == "COMPENSATED"
    assert found_by(store, saga.id) == {("number", "1"), ("receipt", "r-7")}


def test_what_gives_no_id_is_no_fault(store):
    saga, events = new_saga(given={"n": None})
    held = lease()
    store.create(saga, events, held, None)
    for output in ({"id": ["r-7"]}, {"id": "x" * 201}):
        store.checkpoint(saga, saga.record(Succeeded(output), START), held)
    assert saga.status == "COMPLETED"
    assert found_by(store, saga.id) == set()


def test_a_saga_that_nobody_drives_yet_is_found_too(store):
    saga, events = new_saga()
    store.create(saga, events, None, None)
    assert found_by(store, saga.id) == {("number", "1")}


def test_who_does_not_own_the_saga_adds_no_id(store):
    saga, _ = driven(store)
    with pytest.raises(LeaseLost):
        store.checkpoint(saga, saga.record(Succeeded({"id": "r-7"}), START), lease())
    assert found_by(store, saga.id) == {("number", "1")}


# --- idempotency ----------------------------------------------------------------------------------------------------


def test_the_same_idempotency_key_gives_the_first_saga(store):
    first, events = new_saga()
    assert store.create(first, events, lease(), REQUEST) is None
    before = everything(store)
    second, events = new_saga()
    other_body = IdempotentRequest("key-1", b"other hash")
    for request in (REQUEST, other_body):
        assert store.create(second, events, lease(), request) == Existing(first.id, b"hash")
    assert everything(store) == before


def test_another_tenant_has_idempotency_keys_of_its_own(store):
    for tenant in ("north", "south"):
        saga, events = new_saga(tenant)
        assert store.create(saga, events, lease(), REQUEST) is None


def test_the_saga_of_an_idempotency_key_is_found(store):
    saga, events = new_saga("north")
    store.create(saga, events, lease(), REQUEST)
    store.create(*new_saga("north"), lease(), None)
    assert store.started("north", "key-1") == Existing(saga.id, b"hash")
    assert store.started("north", "key-2") is None
    assert store.started("south", "key-1") is None


@pytest.mark.parametrize("request_", [REQUEST, None], ids=["with a key", "without a key"])
def test_a_creation_whose_answer_was_lost_can_be_repeated(store, request_):
    saga, events = new_saga()
    held = lease()
    assert store.create(saga, events, held, request_) is None
    before = everything(store)
    assert store.create(saga, events, held, request_) is None
    assert everything(store) == before


# --- values ---------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(-1e15, 1e15)  # PostgreSQL writes larger ones without an exponent: the same number, read as an int
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, reason=TEXT)
def test_any_json_is_read_back_as_it_was_written(postgres_store, value, reason):
    saga, events = new_saga(given={"value": value})
    held = lease()
    postgres_store.create(saga, events, held, None)
    postgres_store.checkpoint(saga, saga.record(Succeeded(value), START), held)
    postgres_store.checkpoint(saga, saga.record(Rejected(reason), START), held)
    assert same(postgres_store.load(saga.id), saga)
