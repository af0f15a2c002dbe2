"""The published metrics: their names and labels exactly, and what they count."""

import os
import subprocess
import sys
from pathlib import Path

import api_support
import pytest
from api_support import ORDERS, UNKNOWN_ID
from django.db import OperationalError
from prometheus_client.parser import text_string_to_metric_families

from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows.commandes import EtatSaga
from infrastructure import metrics

api = api_support.api

ROOT = Path(__file__).parents[2]
PUBLISHED = {
    "saga_total": {"workflow"},
    "saga_duree_seconds": {"workflow", "status"},
    "saga_echecs_total": {"workflow", "type", "etape"},
    "saga_etapes_total": {"workflow", "etape", "statut"},
    "saga_compensations_total": {"workflow", "etape", "statut"},
    "saga_actives_current": {"workflow", "etat"},
    "services_externes_calls_total": {"service", "methode", "statut"},
    "services_externes_duree_seconds": {"service", "methode"},
}


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


def test_the_names_and_labels_are_those_that_dashboards_rely_on(api):
    api.participants.answers["creation_commande"] = Rejected("no")
    api.order()
    api.participants.answers["verification_stock"] = Unavailable("busy", 5.0)
    api.order()
    metrics.observe_call(api_support.CallFacts("inventaire", "GET", 200, 0.01), Unknown(""))

    found = {}
    for name, labels in scraped(api.get("/metrics/").content.decode()):
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        found.setdefault(base, set()).update({label for label, _ in labels} - {"le"})

    assert found == PUBLISHED


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

    with monkeypatch.context() as patched:
        patched.setattr(metrics.connection, "cursor", away)
        text = api.get("/metrics/").content.decode()

    assert "saga_total{" in text
    assert "saga_actives_current{" not in text


COUNT = """
import django; django.setup()
from domain.outcomes import CallFacts, Succeeded
from infrastructure import metrics
for _ in range({times}):
    metrics.observe_call(CallFacts("inventaire", "GET", 200, 0.02), Succeeded())
print(metrics.exposition().decode() if {tell} else "")
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
