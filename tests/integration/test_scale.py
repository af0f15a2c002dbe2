"""Among 50,000 finished sagas every query reads what it gives, and not what is stored.

`python -m devstack.scale` measures the same queries among a million (docs/scale.md).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction

from application.queries import SagaFilter
from devstack import scale_data, scale_queries
from infrastructure.models import SagaRow
from infrastructure.retention import PostgresRetention
from infrastructure.saga_queries import PostgresSagaQueries

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]
SAGAS, EVENTS = 50_000, 4
PAGES = 400
"""8 kB each, for 51 rows over several indexes; `sagas` has some 4,000 here, each of its indexes some 500."""
PAGES_A_DELETED_SAGA = 30
"""Its row, its four events, its two business ids, their index entries; each is found and marked; all but the ids are
looked for again by the trigger."""
NO_INDEX = {"events step (none)", "events type=saga_parked (none)"}
"""Steps and types that are in no event are looked for in all of them: an index would be written to at every event."""


@pytest.fixture(scope="module")
def plans(django_db_setup: None, django_db_blocker: pytest.FixtureDef) -> Iterator[dict[str, scale_queries.Plan]]:
    """Of every query, among all these sagas."""
    with django_db_blocker.unblock():
        try:
            with connection.cursor() as cursor:  # what other tests rolled back still takes room
                cursor.execute(f"TRUNCATE {scale_data.TABLES}, saga_definitions")
            scale_data.ensure(SAGAS, EVENTS, SAGAS, lambda *_: None)
            yield {name: plan for name, (plan,) in scale_queries.measured(rounds=1)}
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE {scale_data.TABLES}, saga_definitions")
            connection.close()


def test_no_query_reads_a_whole_table(plans):
    small = {"saga_definitions", "saga_workers"}  # a row for each, however many sagas there are
    whole = {name: set(plan.whole) - small for name, plan in plans.items() if name not in NO_INDEX}
    assert {name: tables for name, tables in whole.items() if tables} == {}


def test_a_page_costs_what_is_on_it(plans):
    pages = {name: plan.buffers for name, plan in plans.items() if name.startswith(("list", "claim", "events"))}
    assert {name: read for name, read in pages.items() if read > PAGES and name not in NO_INDEX} == {}
    assert len(pages) >= 40


def test_statistics_read_an_index_alone(plans):
    finished, live = plans["statistics"].scans
    assert finished in {"saga_finished_kind", "saga_finished_tenant"} and live == "saga_live"


def test_a_batch_of_retention_costs_what_it_deletes(plans):
    assert plans["prune 500"].buffers < 500 * PAGES_A_DELETED_SAGA
    assert plans["prune 500, 45 days in"].buffers < 500 * PAGES_A_DELETED_SAGA
    assert plans["prune a rare workflow"].buffers < scale_data.RARE * 2 * PAGES_A_DELETED_SAGA
    assert plans["prune, nothing left"].buffers < 10


def test_a_batch_does_not_walk_over_what_the_ones_before_have_deleted(plans):
    """Nothing is vacuumed meanwhile, as when a backup holds an old snapshot."""
    before, until, retention = datetime.now(UTC) - timedelta(days=1), None, PostgresRetention()
    with transaction.atomic():
        for _ in range(20):
            until = retention.prune("commandes", before, until, 500).until
        later = scale_queries.explained(lambda: retention.prune("commandes", before, until, 500))
        transaction.set_rollback(True)

    assert later.buffers < plans["prune 500"].buffers * 1.1


def test_rare_sagas_are_found_where_they_are(plans):
    """A bound on what is read would also hold for a query that finds nothing."""
    asked = PostgresSagaQueries().sagas
    rare = {
        "workflow": SagaFilter(workflow=scale_data.RARE_WORKFLOW),
        "tenant": SagaFilter(tenant=scale_data.RARE_TENANT),
        "status": SagaFilter(status="COMPENSATED"),
        "all three": SagaFilter(workflow=scale_data.RARE_WORKFLOW, tenant="tills", status="COMPLETED"),
    }
    found = {name: len(asked(chosen, 100)) for name, chosen in rare.items()}
    assert found == {"workflow": 20, "tenant": 20, "status": 20, "all three": 14}
    assert len(asked(SagaFilter(tenant="web", state="SAGA_ANNULEE"), 100)) == 100


@pytest.mark.parametrize(
    "chosen",
    [SagaFilter(), SagaFilter(state="SAGA_ANNULEE"), SagaFilter(workflow="commandes"), SagaFilter(tenant="tills")],
    ids=str,
)
def test_filters_give_what_their_words_say_page_by_page(plans, chosen):
    given = {name: value for name in ("state", "workflow", "tenant") if (value := getattr(chosen, name))}
    expected = list(SagaRow.objects.filter(**given).order_by("-id").values_list("id", flat=True)[:400])
    read: list = []
    while len(read) < 400:
        page = PostgresSagaQueries().sagas(replace(chosen, before=read[-1] if read else None), 80)
        read += [row["id"] for row in page]

    assert read == expected


def test_the_script_measures_every_query_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "devstack.scale", "--data", str(tmp_path), "--delete"]
    options = ["--sagas", "300", "--events-per-saga", "4", "--rounds", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("filling: 300 of 300 sagas \n")
    assert "| claim 8 | " in done.stdout and "| statistics | " in done.stdout
    assert not (tmp_path / "postgres").exists()
