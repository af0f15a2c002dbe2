"""Among 50,000 finished sagas every query reads what it gives, and not what is stored.

`python -m devstack.scale` measures the same queries among a million (docs/scale.md).
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from django.db import connection, transaction

from application.queries import SagaFilter
from devstack import postgres, scale_data, scale_pages, scale_queries
from domain.events import SagaStatus
from infrastructure.models import SagaRow
from infrastructure.retention import PostgresRetention
from infrastructure.saga_queries import PostgresSagaQueries
from saga_service import bootstrap

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]
SAGAS = 50_000
PAGES = 1_100
"""8 kB each, for 51 rows of each of up to 18 kinds; `sagas` has some 4,000 here, each of its indexes some 500."""
PAGES_A_DELETED_SAGA = 50
"""Its row, its ten events, their index entries; each is found, marked, and looked for again by the trigger."""
UNORDERED = {"list state=SAGA_ANNULEE"}
"""Of so few, the planner reads all 1,750 of the kind rather than in order; among a million it reads a page of them."""
NO_INDEX = {"events step (none)", "events type=saga_resolved (none)"}
"""Steps and types that are in no event are looked for in all of them: an index would be written to at every event."""


@pytest.fixture(scope="module")
def plans(django_db_setup: None, django_db_blocker: pytest.FixtureDef) -> Iterator[dict[str, scale_queries.Plan]]:
    """Of every query, among all these sagas."""
    with django_db_blocker.unblock():
        try:
            scale_data.forget()  # what other tests rolled back still takes room
            scale_data.ensure(SAGAS, lambda _: None)
            yield {name: plan for name, (plan,) in scale_queries.measured(rounds=1)}
        finally:
            scale_data.forget()
            connection.close()


def test_no_query_reads_a_whole_table(plans):
    small = {"saga_definitions", "saga_workers", "saga_outbox", "saga_bulk"}  # however many sagas there are
    whole = {name: set(plan.whole) - small for name, plan in plans.items() if name not in NO_INDEX}
    assert {name: tables for name, tables in whole.items() if tables} == {}


def test_a_page_costs_what_is_on_it(plans):
    pages = {name: plan.buffers for name, plan in plans.items() if name.startswith(("list", "claim", "events", "tail"))}
    assert {name: read for name, read in pages.items() if read > PAGES and name not in NO_INDEX | UNORDERED} == {}
    assert len(pages) >= 40


def test_statistics_read_an_index_alone(plans):
    finished, live = plans["statistics"].scans
    assert finished in {"saga_finished_kind", "saga_finished_tenant"} and live == "saga_live"


def test_a_batch_of_retention_costs_what_it_deletes(plans):
    assert plans["prune 500"].buffers < 500 * PAGES_A_DELETED_SAGA
    assert plans["prune 500, 45 days in"].buffers < 500 * PAGES_A_DELETED_SAGA
    assert plans["prune a rare workflow"].buffers < scale_data.RARE * 4 * PAGES_A_DELETED_SAGA
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
        "status": SagaFilter(workflow=scale_data.RARE_WORKFLOW, status="COMPENSATED"),
        "all three": SagaFilter(workflow=scale_data.RARE_WORKFLOW, tenant="tills", status="COMPLETED"),
    }
    found = {name: len(asked(chosen, 100)) for name, chosen in rare.items()}
    assert found == {"workflow": 40, "tenant": 20, "status": 20, "all three": 14}
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


def test_every_kind_of_saga_can_be_read_by_the_engine(plans):
    """The models' copies: of each status and workflow one, with a history that folds to what its row says."""
    rows = SagaRow.objects.order_by("workflow", "status", "-id").distinct("workflow", "status")
    read = {(row.workflow, row.status): bootstrap.engine().store.load(row.id) for row in rows}

    assert {(saga.definition.name, saga.status.value) for saga in read.values()} == set(read)
    assert {row.state for row in rows} == {saga.state for saga in read.values()}
    assert {row.seq for row in rows} == {saga.seq for saga in read.values()}
    assert len(read) == 2 + 5 * 6 + 2  # the rare workflow's two; of each six statuses; one waits, one is paused
    assert all(saga.debts() for saga in read.values() if saga.status is SagaStatus.STUCK)


def test_parked_sagas_form_groups(plans):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT kind), count(*) FROM saga_trouble WHERE parked")
        assert cursor.fetchone() == (10, scale_data.PARKED)


def run(tmp_path, *options):
    command = [sys.executable, "-m", "devstack.scale", "--data", str(tmp_path), *options]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_script_measures_every_query_and_leaves_nothing(tmp_path):
    done = run(tmp_path, "--delete", "--sagas", "300", "--rounds", "1")

    assert done.returncode == 0, done.stderr
    assert "| claim 8 | " in done.stdout and "| statistics | " in done.stdout
    assert not (tmp_path / "postgres").exists()


def test_what_is_filled_is_used_again_and_what_is_missing_is_filled(tmp_path):
    def ids():
        return {row[0] for row in ask(tmp_path, "SELECT id FROM sagas")}

    options = ("--sagas", "300", "--rounds", "1")
    run(tmp_path, *options)
    before = ids()
    # As when it was interrupted before the live ones were committed.
    ask(tmp_path, "SET session_replication_role = replica; DELETE FROM scale_filled WHERE first = 0")
    ask(tmp_path, "SET session_replication_role = replica; DELETE FROM sagas WHERE finished_at IS NULL")
    run(tmp_path, *options)
    assert len(ids()) == len(before) == 300 + scale_data.LIVE
    assert len(ids() & before) == 300


def ask(directory, statement):
    """Of the script's own PostgreSQL, which is stopped again."""
    with contextlib.closing(psycopg2.connect(postgres.ensure_running(directory / "postgres"))) as asked:
        asked.autocommit = True
        with asked.cursor() as cursor:
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
    postgres.stop(directory / "postgres")
    return rows


def test_the_script_measures_pages_and_viewers(tmp_path):
    pages = ["/api/sagas/transactions/{id}/", "/nowhere/", "/api/sagas/transactions/?status=GONE"]
    measured = run(
        tmp_path,
        *("--sagas", "300", "--rounds", "3", "--pages", *pages),
        *("--viewers", "3", "--seconds", "1", "--every", "0.2", "--delete"),
        *("--viewed", "/console/", "/console/sagas/{id}/"),
    )
    lines = measured.stdout.splitlines()

    assert any(line.startswith("| /api/sagas/transactions/{id}/ | 200 | ") for line in lines), measured.stderr
    assert "| /nowhere/ | absent | | | | | | |" in lines
    assert "/api/sagas/transactions/?status=GONE: answered with 400" in lines
    assert any(line.startswith("3 viewers of /console/ /console/sagas/{id}/ for 1 s") for line in lines)
    assert any(re.fullmatch(r"  \d+ statements, \d+\.\d a second", line) for line in lines)
    assert measured.returncode == 1


def test_a_plan_that_reads_a_table_whole_is_told_from_one_that_does_not(plans):
    log = "".join(f"2026 LOG:  duration: 1.0 ms  plan:\n{tabbed(ask)}2026 LOG:  next\n" for ask in (WHOLE, BY_ID))
    whole, by_id = (scale_pages.reading([plan]) for plan in scale_pages.plans_in(log))

    assert whole.whole == ("saga_evenements",) and whole.rows > SAGAS
    assert by_id.whole == () and by_id.rows == 1


WHOLE = "SELECT count(*) FROM saga_evenements WHERE reason = 'nothing' AND seq > 0"
BY_ID = "SELECT * FROM sagas WHERE id = (SELECT id FROM sagas ORDER BY id DESC LIMIT 1)"


def tabbed(statement):
    """As auto_explain writes a plan into the log."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL max_parallel_workers_per_gather = 0; EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        [[[plan]]] = cursor.fetchall()
    return "".join(f"\t{line}\n" for line in json.dumps(plan, indent=1).splitlines())
