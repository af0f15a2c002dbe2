"""The published metrics: their names and labels exactly, and what they count."""

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import api_support
import pytest
from api_support import ORDERS, UNKNOWN_ID
from django.db import OperationalError
from prometheus_client.parser import text_string_to_metric_families
from test_api_definitions import DEFINITIONS, LOAN

from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows import shipped_definitions
from domain.workflows.commandes import EtatSaga
from infrastructure import database_numbers, metrics
from infrastructure.models import OutboxRow, RollupDueRow, SagaRow
from saga_service import bootstrap
from tests.support.metrics_page import published

api = api_support.api

ROOT = Path(__file__).parents[2]


def scraped(text):
    """Every sample of the published metrics: {(name, labels): value}."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        if family.name.startswith(("saga", "services_externes"))
        for sample in family.samples
    }


class Numbers:
    """What the metrics have grown by since they were looked at."""

    def __init__(self, api):
        self.api, self.before = api, scraped(api.get("/metrics/").content.decode())

    def grown(self, name):
        now = scraped(self.api.get("/metrics/").content.decode())
        changes = {
            labels: value - self.before.get((found, labels), 0)
            for (found, labels), value in now.items()
            if found == name
        }
        return {tuple(dict(sorted(labels)).values()): change for labels, change in changes.items() if change}


@pytest.fixture
def numbers(api):
    return Numbers(api)


def test_the_names_labels_and_kinds_are_those_of_the_documentation(api):
    api.participants.answers["creation_commande"] = Rejected("no")
    api.order()
    api.participants.answers["verification_stock"] = Unavailable("busy", 5.0)
    api.order()
    metrics.observe_call(api_support.CallFacts("inventaire", "GET", 200, 0.01), Unknown(""))

    metrics.observe_message("eventos-partners", "taken")
    metrics.observe_unheard("eventos-partners", "refused")
    metrics.observe_breaker("inventaire", 0)
    metrics.observe_spans("sent", 1)
    metrics.observe_checkpoint("on", 0.001)
    bootstrap.platform().heartbeat.beat("w", datetime.now(UTC), datetime.now(UTC))
    api.get("/health")

    found = {}
    for family in text_string_to_metric_families(api.get("/metrics/").content.decode()):
        name = family.name + {"counter": "_total"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if family.name.startswith(("saga", "services_externes")):
            found[name] = (frozenset(labels), family.type)

    assert found == published()


def test_no_label_is_ever_an_id(api):
    saga_id = api.order(X_Correlation_ID="desk-7").json()["saga_id"]
    api.get(f"{ORDERS}{UNKNOWN_ID}/")
    text = api.get("/metrics/").content.decode()

    assert not [part for part in (saga_id, UNKNOWN_ID, "desk-7", api_support.PRODUCT) if part in text]


def test_a_saga_that_ends_well_counts_its_start_its_steps_and_its_time(api, numbers):
    api.order()

    assert numbers.grown("saga_total") == {("commandes",): 1}
    assert numbers.grown("saga_etapes_total") == {(step, "succeeded", "commandes"): 1 for step in api_support.DONE}
    assert numbers.grown("saga_duree_seconds_count") == {("COMPLETED", "commandes"): 1}
    assert numbers.grown("saga_echecs_total") == numbers.grown("saga_compensations_total") == {}


def test_a_saga_that_is_undone_counts_why_and_what(api, numbers):
    api.participants.answers["creation_commande"] = Unknown("no answer")
    api.order()

    assert numbers.grown("saga_echecs_total") == {("creation_commande", "unknown", "commandes"): 1}
    assert numbers.grown("saga_etapes_total")["creation_commande", "unknown", "commandes"] == 2
    assert numbers.grown("saga_compensations_total") == {
        ("creation_commande", "succeeded", "commandes"): 1,
        ("reservation_stock", "succeeded", "commandes"): 1,
    }
    assert numbers.grown("saga_duree_seconds_count") == {("COMPENSATED", "commandes"): 1}


def test_a_parked_saga_counts_as_a_failure_and_stays_live(api, numbers):
    api.participants.answers |= {"creation_commande": Rejected("no"), "reservation_stock:undo": Rejected("shipped")}
    api.order()

    assert numbers.grown("saga_echecs_total") == {
        ("creation_commande", "rejected", "commandes"): 1,
        ("creation_commande", "parked", "commandes"): 1,
    }
    assert numbers.grown("saga_compensations_total") == {("reservation_stock", "rejected", "commandes"): 1}
    assert numbers.grown("saga_actives_current") == {("COMPENSATION_EN_COURS", "commandes"): 1}


def test_what_can_happen_in_a_shipped_workflow_is_counted_from_zero(api):
    """A series that begins at 1 has not risen: Prometheus would not see the first failure."""
    found = scraped(api.get("/metrics/").content.decode())

    for definition in shipped_definitions():
        about = {"workflow": definition.name}
        wanted = [("saga_total", about), ("saga_duree_seconds_count", about | {"status": "COMPENSATED"})]
        for step in definition.steps:
            at = about | {"etape": step.name}
            wanted += [("saga_echecs_total", at | {"type": kind}) for kind in ("parked", "deadline", "operator")]
            wanted.append(("saga_etapes_total", about | {"etape": step.name, "statut": "unknown"}))
            if step.undoable:
                wanted.append(("saga_compensations_total", about | {"etape": step.name, "statut": "rejected"}))
        assert {(name, frozenset(labels.items())) for name, labels in wanted} <= found.keys()


def test_a_participant_that_nobody_comes_back_to_is_not_told_as_not_called_for_ever(api, numbers, monkeypatch):
    metrics.observe_breaker("forgotten", 65)
    assert numbers.grown("saga_participant_open") == {("forgotten",): 1}

    now = time.time()
    monkeypatch.setattr(metrics.time, "time", lambda: now + 66)
    assert numbers.grown("saga_participant_open") == {}


def test_what_can_happen_in_a_workflow_that_is_published_is_counted_from_zero_too(api):
    assert api.post(DEFINITIONS, {**LOAN, "name": "loan_not_yet_begun"}).status_code == 201
    found = scraped(api.get("/metrics/").content.decode())

    about = {"workflow": "loan_not_yet_begun"}
    for name, labels in {
        "saga_total": {},
        "saga_echecs_total": {"etape": "payout", "type": "unavailable"},
        "saga_etapes_total": {"etape": "credit_check", "statut": "unknown"},
        "saga_statut_current": {"statut": "STUCK"},
        "saga_parked_oldest_seconds": {},
    }.items():
        assert found[name, frozenset((about | labels).items())] == 0, name


def test_a_repeated_request_counts_nothing(api, numbers):
    for _ in range(3):
        api.order(Idempotency_Key="k-1")

    assert numbers.grown("saga_total") == {("commandes",): 1}


def test_live_sagas_are_counted_in_the_database(api, numbers):
    for _ in range(2):
        api.order(Prefer="respond-async")
    api.order()

    assert numbers.grown("saga_actives_current") == {("VERIFICATION_STOCK", "commandes"): 2}


def test_a_state_that_no_saga_is_in_is_a_zero(api):
    api.order()
    live = {
        dict(labels)["etat"]: value
        for (name, labels), value in scraped(api.get("/metrics/").content.decode()).items()
        if name == "saga_actives_current" and dict(labels)["workflow"] == "commandes"
    }

    assert set(live) == set(EtatSaga) - {"SAGA_TERMINEE", "SAGA_ANNULEE"}
    assert set(live.values()) == {0}


def test_without_the_database_the_other_numbers_are_still_told(api, monkeypatch):
    def away():
        raise OperationalError("gone")

    api.order()
    with monkeypatch.context() as patched:
        patched.setattr(database_numbers.connection, "cursor", away)
        text = api.get("/metrics/").content.decode()

    assert "saga_total{" in text
    assert "saga_database_up 0.0" in text
    assert "saga_actives_current{" not in text


def test_a_database_that_hangs_holds_up_no_scrape_and_is_asked_again_once_it_answers():
    answered, asked = threading.Event(), []

    def ask(now):
        asked.append(now)
        assert answered.wait(10)
        return ["the numbers"]

    reader = database_numbers.Reader(ask, seconds=0.05)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            reader.read()
    assert len(asked) == 1, "a question that hangs is not asked again"

    answered.set()
    patient = database_numbers.Reader(ask, seconds=10)
    assert patient.read() == ["the numbers"]


def test_a_database_that_was_away_is_asked_over_a_new_connection():
    answers = iter([OperationalError("gone"), ["the numbers"]])

    def ask(now):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    reader = database_numbers.Reader(ask, seconds=10)
    with pytest.raises(OperationalError):
        reader.read()
    assert reader.read() == ["the numbers"]


def test_what_parked_sagas_owe_is_told_by_service_and_ends_with_the_remedy(api, numbers):
    api.participants.answers |= {"creation_commande": Unknown("?"), "creation_commande:undo": Rejected("shipped")}
    saga_id = api.order().json()["saga_id"]

    owed = {("commandes", "commandes"): 1, ("inventaire", "commandes"): 1}
    assert numbers.grown("saga_undo_debt_current") == owed
    assert numbers.grown("saga_statut_current") == {("STUCK", "commandes"): 1}
    SagaRow.objects.filter(id=saga_id).update(updated_at=datetime.now(UTC) - timedelta(hours=1))
    for age in ("saga_undo_debt_oldest_seconds", "saga_parked_oldest_seconds"):
        assert numbers.grown(age) == {("commandes",): pytest.approx(3600, abs=5)}

    resolved = api.post(f"/api/sagas/transactions/{saga_id}/resolve/", {"outcome": "compensated", "reason": "by hand"})
    assert resolved.status_code == 200, resolved.content
    assert numbers.grown("saga_undo_debt_current") == numbers.grown("saga_statut_current") == {}


def test_a_saga_that_is_due_and_not_taken_up_is_no_progress(api, numbers):
    row = SagaRow.objects.get(id=api.order(Prefer="respond-async").json()["saga_id"])
    row.wake_at = datetime.now(UTC) - timedelta(minutes=1)
    row.save()

    assert numbers.grown("saga_overdue_current") == {(): 1}
    assert numbers.grown("saga_overdue_oldest_seconds") == {(): pytest.approx(60, abs=5)}


def test_messages_that_wait_for_the_broker_are_counted_with_the_age_of_the_first(api, numbers):
    for minutes in (3, 1):
        OutboxRow.objects.create(
            saga_id=UNKNOWN_ID,
            seq=minutes,
            topic="t",
            payload={},
            created_at=datetime.now(UTC) - timedelta(minutes=minutes),
        )

    assert numbers.grown("saga_outbox_waiting_current") == {(): 2}
    assert numbers.grown("saga_outbox_oldest_seconds") == {(): pytest.approx(180, abs=5)}


def test_endings_that_the_statistics_lack_are_counted_with_the_age_of_the_first(api, numbers):
    for _ in range(2):
        api.order()
    RollupDueRow.objects.update(finished_at=datetime.now(UTC) - timedelta(minutes=3))

    assert numbers.grown("saga_rollup_due_current") == {(): 2}
    assert numbers.grown("saga_rollup_due_oldest_seconds") == {(): pytest.approx(180, abs=5)}


def test_workers_are_told_by_what_they_report(api, numbers):
    now = datetime.now(UTC)
    for name, age in {"at work": 1, "silent": 60}.items():
        bootstrap.platform().heartbeat.beat(name, now, now - timedelta(seconds=age))

    assert numbers.grown("saga_workers_current") == {(): 1}
    assert numbers.grown("saga_worker_seen_seconds") == {(): pytest.approx(1, abs=0.9)}


def test_the_server_tells_its_connections_and_its_size(api):
    told = scraped(api.get("/metrics/").content.decode())

    states = {dict(labels)["etat"]: value for (name, labels), value in told.items() if "connections_current" in name}
    assert set(states) == {"active", "idle", "idle in transaction", "other"}
    assert 1 <= sum(states.values()) <= told["saga_database_connections_max", frozenset()]
    assert told["saga_database_size_bytes", frozenset()] > 1_000_000


def test_requests_are_counted_by_the_route_that_took_them(api, numbers):
    api.get(f"{ORDERS}{UNKNOWN_ID}/")
    api.call("GET", "/nowhere/at/all")
    api.call("GET", "/static/nowhere.css")
    api.call("BREW", "/health")

    grown = numbers.grown("saga_http_requests_total")
    assert grown["GET", "/api/saga/commandes/<uuid:saga_id>/", "404"] == 1
    assert grown["GET", "unknown", "404"] == 2
    assert grown["other", "/health", "405"] == 1


def test_nothing_is_counted_where_that_is_turned_off(api, monkeypatch):
    monkeypatch.setattr(metrics, "counting", False)
    numbers = Numbers(api)
    api.order()

    for name in ("saga_total", "saga_etapes_total", "services_externes_calls_total", "saga_http_requests_total"):
        assert numbers.grown(name) == {}


COUNT = """
import django; django.setup()
from domain.outcomes import CallFacts, Succeeded
from infrastructure import database_numbers, metrics
from infrastructure.models import OutboxRow, SagaRow
from saga_service import bootstrap
from tests.support.metrics_page import published
for _ in range({times}):
    metrics.observe_call(CallFacts("inventaire", "GET", 200, 0.02), Succeeded())
print(metrics.exposition("1").decode() if {tell} else "")
"""


def test_processes_that_share_a_directory_count_as_one(db, tmp_path):
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "saga_service.settings",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://saga@127.0.0.1:1/saga",
    }

    def count(times, tell):
        command = [sys.executable, "-c", COUNT.format(times=times, tell=tell)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    count(3, tell=False)
    told = scraped(count(4, tell=True))

    called = frozenset({("service", "inventaire"), ("methode", "GET")})
    assert told["services_externes_calls_total", called | {("statut", "200")}] == 7
    assert told["services_externes_duree_seconds_count", called] == 7
    assert told["services_externes_duree_seconds_sum", called] == pytest.approx(0.14)


@pytest.mark.parametrize("accept", ["text/plain", "text/plain;version=0.0.4", "application/openmetrics-text", "text/*"])
def test_whoever_asks_for_text_gets_it(api, accept):
    answer = api.get("/metrics/", Accept=accept)
    assert (answer.status_code, answer.headers["Content-Type"][:10]) == (200, "text/plain")
