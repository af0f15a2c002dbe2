"""What PostgreSQL refuses to store, whatever the code does; and that it says the same as the domain."""

import json
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db import DataError, IntegrityError, OperationalError, connection, transaction

from domain.definition import SagaDefinition
from domain.events import FINISHED, Action, EventType, SagaStatus
from domain.exceptions import DefinitionChanged
from domain.workflows.commandes import COMMANDES
from infrastructure.definition_codec import states_json
from infrastructure.definition_store import DefinitionStore
from infrastructure.saga_store import _STATEMENTS
from tests.support.dialogue import START, step, workflow

pytestmark = pytest.mark.django_db

NOW = START.isoformat()
RUNNING: dict[str, Any] = {
    "workflow": "commandes",
    "version": COMMANDES.version,
    "correlation_id": "c",
    "tenant": "",
    "status": "RUNNING",
    "state": "VERIFICATION_STOCK",
    "data": json.dumps({"input": {}, "max_retries": 3}),
    "seq": 2,
    "lease_token": "00000000-0000-4000-8000-000000000001",
    "lease_owner": "driver",
    "lease_expires_at": NOW,
    "deadline_at": NOW,
    "created_at": NOW,
    "updated_at": NOW,
}
FAILURE = json.dumps({"step": "a", "item": None, "outcome": "rejected", "reason": "no"})
COMPLETED = {**RUNNING, "status": "COMPLETED", "state": "SAGA_TERMINEE", "finished_at": NOW, "lease_expires_at": None}
UNDONE = {**COMPLETED, "status": "COMPENSATED", "state": "SAGA_ANNULEE", "error": FAILURE}
STUCK = {**RUNNING, "status": "STUCK", "state": "COMPENSATION_EN_COURS", "lease_expires_at": None, "error": FAILURE}
EVENT: dict[str, Any] = {"type": "saga_started", "at": NOW, "status": "RUNNING", "state": "EN_ATTENTE", "seq": 1}


@pytest.fixture(autouse=True)
def definitions(db: None) -> Iterator[DefinitionStore]:
    store = DefinitionStore([COMMANDES])
    store.register()
    return store


def insert(table: str, values: dict[str, Any]) -> UUID:
    key = "id" if table == "sagas" else "saga_id"
    values = {key: uuid4(), **values}
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", list(values.values()))
    return values[key]


def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("row", [RUNNING, COMPLETED, UNDONE, STUCK], ids=lambda row: row["status"])
def test_a_possible_saga_is_stored(row):
    insert("sagas", row)


IMPOSSIBLE = {
    "saga_counts_from_1": {**RUNNING, "seq": 0},
    "saga_finished_has_a_time": {**COMPLETED, "finished_at": None},
    "saga_moves_if_and_only_if_somebody_moves_it": {**RUNNING, "lease_expires_at": None},
    "saga_lease_has_a_token": {**RUNNING, "lease_token": None},
    "saga_that_completed_has_no_error": {**COMPLETED, "error": FAILURE},
    "saga_that_turned_back_has_an_error": {**UNDONE, "error": None},
    "saga_idempotency_key_has_a_hash": {**RUNNING, "idempotency_key": "k"},
}


@pytest.mark.parametrize(("rule", "row"), IMPOSSIBLE.items())
def test_an_impossible_saga_is_refused(rule, row):
    with pytest.raises(IntegrityError, match=rule):
        insert("sagas", row)


def test_every_check_constraint_of_a_saga_is_tried():
    rows = run("SELECT conname FROM pg_constraint WHERE conrelid = 'sagas'::regclass AND contype = 'c'")
    assert {name for (name,) in rows} == set(IMPOSSIBLE)


@pytest.mark.parametrize("row", [COMPLETED, UNDONE, STUCK], ids=lambda row: row["status"])
def test_a_saga_that_rests_has_no_driver_and_no_time(row):
    with pytest.raises(IntegrityError, match="saga_moves_if_and_only_if_somebody_moves_it"):
        insert("sagas", {**row, "lease_expires_at": NOW})
    with pytest.raises(IntegrityError, match="saga_moves_if_and_only_if_somebody_moves_it"):
        insert("sagas", {**row, "wake_at": NOW})


def test_an_unknown_status_is_refused():
    with pytest.raises(DataError, match="saga_status"):
        insert("sagas", {**RUNNING, "status": "DOZING"})


@pytest.mark.parametrize(
    ("status", "state"), [("RUNNING", "SAGA_TERMINEE"), ("RUNNING", "PAID"), ("COMPLETED", "SAGA_ANNULEE")]
)
def test_a_pair_of_status_and_state_that_the_workflow_does_not_have_is_refused(status, state):
    row = {**(COMPLETED if status == "COMPLETED" else RUNNING), "state": state}
    with pytest.raises(IntegrityError, match=f"cannot be {status} in state {state}"):
        insert("sagas", row)
    saga_id = insert("sagas", RUNNING)
    with pytest.raises(IntegrityError, match="cannot be"):
        run("UPDATE sagas SET state = 'SAGA_TERMINEE' WHERE id = %s", saga_id)


def test_a_saga_of_a_workflow_that_is_not_stored_is_refused():
    with pytest.raises(IntegrityError, match="cannot be"):
        insert("sagas", {**RUNNING, "version": 99})


def test_the_pairs_in_the_database_are_those_of_the_domain():
    [(states,)] = run("SELECT states FROM saga_definitions WHERE name = 'commandes'")
    expected = {status.value: sorted(words) for status, words in COMMANDES.states_by_status().items()}
    assert json.loads(states) == expected


def test_two_sagas_cannot_share_an_idempotency_key():
    row = {**RUNNING, "idempotency_key": "k", "request_hash": b"h"}
    insert("sagas", row)
    insert("sagas", {**row, "tenant": "other"})
    with pytest.raises(IntegrityError, match="saga_idempotency"):
        insert("sagas", row)


@pytest.mark.parametrize(
    ("words", "kind"), [(SagaStatus, "saga_status"), (EventType, "saga_event_type"), (Action, "saga_action")]
)
def test_the_words_of_the_database_are_those_of_the_domain(words, kind):
    rows = run("SELECT enumlabel FROM pg_enum WHERE enumtypid = %s::regtype", kind)
    assert sorted(label for (label,) in rows) == sorted(word.value for word in words)


@pytest.mark.parametrize("change", [{"type": "saga_dreamt"}, {"status": "DOZING"}, {"action": "guess"}])
def test_an_event_in_other_words_is_refused(change):
    with pytest.raises(DataError, match="enum"):
        insert("saga_evenements", {**EVENT, **change})


def test_history_can_only_grow():
    saga_id = insert("saga_evenements", EVENT)
    with pytest.raises(IntegrityError, match="never changed"):
        run("UPDATE saga_evenements SET reason = 'nicer'")
    with pytest.raises(IntegrityError, match="pkey"):
        insert("saga_evenements", {**EVENT, "saga_id": saga_id})


def test_a_stored_definition_cannot_be_changed():
    with pytest.raises(IntegrityError, match="never changed"):
        run("UPDATE saga_definitions SET content = '{}'")


def test_nor_can_who_published_it():
    with pytest.raises(IntegrityError, match="never changed"):
        run("UPDATE saga_definitions SET published_by = 'nobody'")


@pytest.mark.parametrize("row", [RUNNING, COMPLETED, UNDONE, STUCK], ids=lambda row: row["status"])
def test_a_definition_stays_as_long_as_there_is_a_saga_of_it(row):
    saga_id = insert("sagas", row)
    with pytest.raises(IntegrityError, match=f"commandes version {COMMANDES.version}, and need it"):
        run("DELETE FROM saga_definitions")
    if row is COMPLETED:
        run("DELETE FROM sagas WHERE id = %s", saga_id)
        run("DELETE FROM saga_definitions")
        assert run("SELECT FROM saga_definitions") == []


@pytest.mark.django_db(transaction=True)
def test_a_definition_is_not_deleted_past_a_saga_that_is_just_being_stored():
    other = connection.copy()
    with transaction.atomic():
        insert("sagas", RUNNING)
        with other.cursor() as cursor, pytest.raises(OperationalError, match="lock timeout"):
            cursor.execute("SET lock_timeout = '50ms'; DELETE FROM saga_definitions")
    with other.cursor() as cursor, pytest.raises(IntegrityError, match="need it"):
        cursor.execute("DELETE FROM saga_definitions")
    other.close()


def test_a_version_that_no_saga_has_may_go_while_others_stay():
    DefinitionStore([loan("requested")]).register()
    insert("sagas", RUNNING)
    run("DELETE FROM saga_definitions WHERE name = 'loan'")
    assert run("SELECT name FROM saga_definitions") == [("commandes",)]


def test_looking_for_sagas_of_a_definition_reads_no_more_than_an_index():
    many_finished(5000)
    finished = "SELECT FROM sagas WHERE workflow = 'loan' AND version = 1 AND finished_at IS NOT NULL LIMIT 1"
    live = "SELECT FROM sagas WHERE workflow = 'loan' AND version = 1 AND finished_at IS NULL LIMIT 1"
    for statement, index in ((finished, "saga_finished"), (live, "saga_live")):
        plan = explain(statement)
        assert index in plan
        assert "Seq Scan" not in plan


def test_a_changed_definition_under_an_old_version_is_refused_at_the_start():
    DefinitionStore([loan("requested")]).register()
    DefinitionStore([loan("requested")]).register()
    with pytest.raises(DefinitionChanged, match="publish the new one under the next version"):
        DefinitionStore([loan("asked")]).register()


def test_a_definition_that_an_earlier_release_wrote_in_more_words_is_the_same(definitions):
    whole = msgspec.to_builtins(loan("requested"))
    states = json.dumps(states_json(loan("requested")))
    content, digest = json.dumps(whole), "of another wording"
    row = {"name": "loan", "version": 1, "content": content, "content_hash": digest, "states": states}
    run(
        f"INSERT INTO saga_definitions ({', '.join(row)}, created_at) VALUES (%s, %s, %s, %s, %s, now())", *row.values()
    )
    DefinitionStore([loan("requested")]).register()
    with pytest.raises(DefinitionChanged):
        DefinitionStore([loan("asked")]).register()


def loan(initial_state: str) -> SagaDefinition:
    return workflow(step("a"), name="loan", initial_state=initial_state)


def test_reports_have_one_row_an_order_and_one_a_line():
    given = {
        "client_id": str(uuid4()),
        "magasin_id": str(uuid4()),
        "lignes": [{"produit_id": str(uuid4()), "quantite": 2}, {"produit_id": str(uuid4()), "quantite": 1}],
    }
    saga_id = insert("sagas", {**COMPLETED, "data": json.dumps({"input": given, "max_retries": 3})})
    done = {**EVENT, "saga_id": saga_id, "type": "step_succeeded", "action": "do"}
    priced = {"step": "information_produit", "item": 0, "output": json.dumps({"nom": "Café", "prix_unitaire": 14.9})}
    insert("saga_evenements", {**done, **priced, "seq": 2})
    insert("saga_evenements", {**done, "step": "creation_commande", "output": '{"commande_id": "c1"}', "seq": 3})
    [order] = run("SELECT etat, client_id::text, commande_id, erreur FROM saga_commandes WHERE saga_id = %s", saga_id)
    assert order == ("SAGA_TERMINEE", given["client_id"], "c1", None)
    lines = run("SELECT quantite, nom, prix_unitaire::float FROM saga_lignes_commande ORDER BY ligne")
    assert lines == [(2, "Café", 14.9), (1, None, None)]


LINES = [
    {"produit_id": "c0ffee", "quantite": 2.0},
    {"produit_id": None, "quantite": "two"},
    {"produit_id": 7, "quantite": 10**30},
    {"quantite": None},
    {"quantite": [1]},
    7,
]
PRICES = ["12,50", "12.50", 12.5, {"amount": 1}, True, 10**30]


def test_reports_show_what_they_can_of_values_that_are_not_what_they_should_be():
    saga_id = insert("sagas", {**RUNNING, "data": json.dumps({"input": {"client_id": 7, "lignes": LINES}})})
    for item, price in enumerate(PRICES):
        output = json.dumps({"nom": "Café", "prix_unitaire": price})
        priced = {"step": "information_produit", "item": item, "output": output, "seq": item + 2}
        insert("saga_evenements", {**EVENT, "saga_id": saga_id, "type": "step_succeeded", "action": "do", **priced})
    for lines in (None, "none", {"0": LINES[0]}):
        insert("sagas", {**RUNNING, "data": json.dumps({"input": {"magasin_id": "nowhere", "lignes": lines}})})

    orders = run("SELECT client_id, magasin_id, erreur FROM saga_commandes")
    lines = run("SELECT produit_id, quantite, prix_unitaire::float FROM saga_lignes_commande ORDER BY ligne")

    assert orders == [(None, None, None)] * 4
    assert [quantity for _, quantity, _ in lines] == [2, None, None, None, None, None]
    assert [price for _, _, price in lines] == [None, 12.5, 12.5, None, None, 1e30]
    assert {product for product, _, _ in lines} == {None}


def test_the_reports_before_can_be_put_back():
    migration = import_module("infrastructure.migrations.0007_order_lines_view")
    run(migration.BEFORE)
    run(migration.VALUES + migration.VIEWS)


def test_claiming_does_not_look_at_finished_sagas():
    many_finished(5000)
    insert("sagas", {**RUNNING, "lease_expires_at": START - timedelta(minutes=1)})
    plan = explain(_STATEMENTS["claim"].text, token=uuid4(), owner="w", lease_expires_at=NOW, now=NOW, limit=10)
    assert "saga_due_or_lapsed" in plan
    assert "Seq Scan" not in plan


def test_what_of_a_saga_no_broker_took_is_found_without_a_look_at_what_waits():
    many_finished(5000)
    run(
        "INSERT INTO saga_outbox (saga_id, seq, topic, payload, created_at) "
        "SELECT gen_random_uuid(), 1, 't', '{}', now() FROM generate_series(1, 20000)"
    )
    run("ANALYZE saga_outbox")
    plan = explain(_STATEMENTS["standing"].text, id=uuid4())
    assert "saga_outbox_refused" in plan or "saga_outbox_once" in plan
    assert "Seq Scan" not in plan


def test_listing_active_sagas_does_not_look_at_finished_ones():
    many_finished(5000)
    plan = explain(
        "SELECT id FROM sagas WHERE finished_at IS NULL AND id < %(id)s ORDER BY id DESC LIMIT 50", id=uuid4()
    )
    assert "saga_live" in plan
    assert "Seq Scan" not in plan


def test_a_finished_saga_is_finished_in_the_domain_and_in_the_database():
    [(definition,)] = run(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'saga_finished_has_a_time'"
    )
    assert {status.value for status in SagaStatus if f"'{status}'" in definition} == {one.value for one in FINISHED}


def many_finished(count: int) -> None:
    columns = [name for name in COMPLETED if name != "lease_expires_at"]
    places = ", ".join(["%s"] * len(columns))
    run(
        f"INSERT INTO sagas (id, {', '.join(columns)}) SELECT gen_random_uuid(), {places} FROM generate_series(1, %s)",
        *(COMPLETED[name] for name in columns),
        count,
    )
    run("ANALYZE sagas")


def explain(statement: str, **values: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}", values)
        return "\n".join(line for (line,) in cursor.fetchall())
