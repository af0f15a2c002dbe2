"""`saga_prune`: what it deletes, what it never deletes, and that it may be stopped, repeated and run twice at once."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from application.retention import prune
from domain.workflows.commandes import COMMANDES
from infrastructure.definition_store import DefinitionStore
from infrastructure.models import BusinessIdRow, OutboxRow, SagaEventRow, SagaRow
from infrastructure.retention import PostgresRetention
from interfaces.management.commands import saga_prune
from tests.support.dialogue import step, workflow

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)
OTHER = workflow(step("a"), name="other")
STATES = {"COMPLETED": "SAGA_TERMINEE", "COMPENSATED": "SAGA_ANNULEE", "FAILED": "SAGA_ANNULEE"}
FAILURE = json.dumps({"step": "a", "item": None, "outcome": "rejected", "reason": "no"})


@pytest.fixture(autouse=True)
def definitions(request: pytest.FixtureRequest) -> Iterator[None]:
    concurrent = request.node.get_closest_marker("django_db").kwargs.get("transaction")
    request.getfixturevalue("transactional_db" if concurrent else "db")
    DefinitionStore([COMMANDES, OTHER]).register()
    yield
    connection.close()


def saga(days: float | None, **fields: Any) -> UUID:
    """A saga with two events, finished so many days ago; None: it still runs."""
    status = fields.get("status", "COMPLETED" if days is not None else "RUNNING")
    at = NOW - timedelta(days=days or 0)
    row = SagaRow(
        **{
            "id": uuid4(),
            "workflow": "commandes",
            "version": OTHER.version if "workflow" in fields else COMMANDES.version,
            "correlation_id": "c",
            "status": status,
            "state": STATES.get(status, "VERIFICATION_STOCK"),
            "data": {"input": {}, "max_retries": 3},
            "error": None if status in {"COMPLETED", "RUNNING"} else json.loads(FAILURE),
            "seq": 2,
            "lease_token": uuid4(),
            "lease_expires_at": at if status == "RUNNING" else None,
            "deadline_at": at,
            "created_at": at,
            "updated_at": at,
            "finished_at": at if days is not None else None,
            **fields,
        }
    )
    row.save(force_insert=True)
    for seq in (1, 2):
        event = {"type": "saga_started", "at": at, "status": status, "state": row.state}
        SagaEventRow.objects.create(saga_id=row.id, seq=seq, **event)
    return row.id


def message(saga_id: UUID, published_at: datetime | None) -> None:
    OutboxRow.objects.create(
        saga_id=saga_id, seq=1, topic="t", payload={}, created_at=NOW - timedelta(days=99), published_at=published_at
    )


def pruned(*options: str) -> str:
    told = io.StringIO()
    call_command("saga_prune", *options, stdout=told)
    return told.getvalue()


def left() -> set[UUID]:
    sagas = set(SagaRow.objects.values_list("id", flat=True))
    assert set(SagaEventRow.objects.values_list("saga_id", flat=True)) == sagas  # history goes with its saga, and stays
    return sagas


@pytest.mark.django_db
def test_finished_sagas_past_their_time_go_with_all_that_is_theirs():
    young = saga(89.9)
    for status in STATES:
        old = saga(90.1, status=status)
        message(old, published_at=NOW)
        BusinessIdRow.objects.create(value="c-1", saga_id=old, name="commande_id")
    BusinessIdRow.objects.create(value="c-1", saga_id=young, name="commande_id")
    told = pruned("--older-than", "90d")

    assert left() == {young}
    assert not OutboxRow.objects.exists()
    assert list(BusinessIdRow.objects.values_list("saga_id", flat=True)) == [young]
    assert "commandes: 3 sagas\ndeleted 3 sagas, 6 events and 3 messages that finished before " in told


@pytest.mark.django_db
def test_live_sagas_stay_however_old():
    parked = {"status": "STUCK", "state": "COMPENSATION_EN_COURS", "error": {}, "lease_expires_at": None}
    old = {"created_at": NOW - timedelta(days=900), "updated_at": NOW - timedelta(days=900)}
    live = {saga(None, **old), saga(None, **parked, **old)}
    pruned("--older-than", "1m")

    assert left() == live


@pytest.mark.django_db
def test_a_saga_whose_message_is_not_published_yet_stays():
    waiting = saga(99)
    message(waiting, published_at=None)
    saga(98)
    assert "would delete 1 sagas" in pruned("--older-than", "90d", "--dry-run")
    pruned("--older-than", "90d", "--batch", "1")

    assert left() == {waiting}
    assert OutboxRow.objects.count() == 1
    assert "would delete 0 sagas" in pruned("--older-than", "90d", "--dry-run")


@pytest.mark.django_db
def test_one_workflow_may_be_chosen():
    kept, _ = saga(99), saga(99, workflow="other", state=OTHER.completed_state)
    told = pruned("--older-than", "90d", "--workflow", "other")

    assert left() == {kept}
    assert told.startswith("other: 1 sagas\ndeleted 1 sagas")


@pytest.mark.django_db
@pytest.mark.parametrize(("age", "days"), [("2d", 2), ("36h", 1.5), ("90m", 1 / 16)])
def test_ages_are_days_hours_or_minutes(age, days):
    younger, _ = saga(days - 0.01), saga(days + 0.01)
    pruned("--older-than", age)

    assert left() == {younger}


@pytest.mark.django_db
def test_a_dry_run_counts_by_workflow_and_deletes_nothing():
    all_of_them = {saga(91), saga(120), saga(200, workflow="other", state=OTHER.completed_state), saga(1)}
    told = pruned("--older-than", "90d", "--dry-run").splitlines()

    oldest = [(NOW - timedelta(days=days)).isoformat(timespec="seconds") for days in (120, 200)]
    assert told[:2] == [
        f"commandes: 2 sagas, the oldest finished {oldest[0]}",
        f"other: 1 sagas, the oldest finished {oldest[1]}",
    ]
    assert told[2].startswith("would delete 3 sagas that finished before ")
    assert left() == all_of_them


@pytest.mark.django_db
def test_a_run_with_nothing_to_do_says_so():
    assert pruned("--older-than", "90d").startswith("deleted 0 sagas, 0 events and 0 messages")
    assert pruned("--older-than", "90d", "--dry-run").startswith("would delete 0 sagas")


@pytest.mark.django_db
@pytest.mark.parametrize("age", ["", "90", "d", "0d", "-1d", "1.5d", "90 d", "90D", "2w", "٣d", "1234567d", "90d\n"])
def test_what_is_not_an_age_is_refused(age):
    with pytest.raises(CommandError, match="like 90d, 12h or 30m"):
        pruned(f"--older-than={age}")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ([], "required: --older-than"),
        (["--older-than", "999999d"], "before the year 1"),
        (["--older-than", "1d", "--batch", "0"], "--batch '0': must be a number from 1 to 10000"),
        (["--older-than", "1d", "--batch", "10001"], "must be a number from 1 to 10000"),
        (["--older-than", "1d", "--batch", "many"], "must be a number"),
        (["--older-than", "1d", "--workflow", "booking"], "--workflow 'booking': there is commandes, other"),
    ],
)
def test_other_nonsense_is_refused(options, fault):
    saga(999)
    with pytest.raises(CommandError, match=fault):
        pruned(*options)
    assert len(left()) == 1


@pytest.mark.django_db
def test_what_finished_first_goes_first_in_batches_of_the_size_asked_for():
    order = [saga(days) for days in (95, 94, 93, 92, 91)]
    seen = []
    prune(
        PostgresRetention(),
        ["commandes"],
        NOW - timedelta(days=90),
        2,
        lambda _, batch: (seen.append((batch.sagas, left())), True)[1],
    )

    assert seen == [(2, set(order[2:])), (2, set(order[4:])), (1, set())]


@pytest.mark.django_db
def test_sagas_that_finished_at_the_same_instant_are_all_found():
    for _ in range(5):
        saga(91, finished_at=NOW - timedelta(days=91))
    pruned("--older-than", "90d", "--batch", "2")

    assert left() == set()


@pytest.mark.django_db
def test_a_run_that_is_told_to_stop_ends_after_its_batch_and_says_so(monkeypatch):
    for days in range(91, 96):
        saga(days)
    tell = saga_prune._Totals._report
    monkeypatch.setattr(saga_prune._Totals, "_report", lambda *a: (tell(*a), os.kill(os.getpid(), signal.SIGTERM))[0])
    handler, errors = signal.getsignal(signal.SIGTERM), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("saga_prune", older_than="90d", batch="2", stdout=io.StringIO(), stderr=errors)

    assert ended.value.code == 130
    assert "run it again" in errors.getvalue()
    assert len(left()) == 3
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.django_db(transaction=True)
def test_what_another_process_is_deleting_is_passed_over():
    first, second = saga(92), saga(91)
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM sagas WHERE id = %s FOR UPDATE", [first])
            holds.set()
            done.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(10)
    pruned("--older-than", "90d")
    remained = left()
    done.set()
    holder.join()

    assert (remained, second in remained) == ({first}, False)
    pruned("--older-than", "90d")
    assert left() == set()


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_delete_each_saga_once():
    for days in range(100, 300):
        saga(days)
    database = connection.settings_dict
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "saga_service.settings",
        "DATABASE_URL": "postgresql://{USER}@{HOST}:{PORT}/{NAME}".format(**database),
    }
    command = [sys.executable, "manage.py", "saga_prune", "--older-than", "90d", "--batch", "5"]
    runs = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [run.communicate(timeout=60) for run in runs]

    assert [(run.returncode, errors) for run, (_, errors) in zip(runs, told, strict=True)] == [(0, ""), (0, "")]
    assert sum(int(out.split("deleted ")[1].split()[0]) for out, _ in told) == 200
    assert left() == set()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "rule"),
    [("saga_evenements", "history is deleted only together with its saga"), ("sagas", "together with its history")],
)
def test_neither_a_saga_nor_its_history_goes_alone(table, rule):
    saga(99)
    with pytest.raises(IntegrityError, match=rule), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")
    assert len(left()) == 1


@pytest.mark.django_db
def test_a_live_saga_cannot_be_deleted_at_all():
    running = saga(None)
    with pytest.raises(IntegrityError, match="not finished"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("WITH e AS (DELETE FROM saga_evenements) DELETE FROM sagas WHERE id = %s", [running])
    assert left() == {running}


@pytest.mark.django_db
@pytest.mark.parametrize("watched", [True, False])
def test_a_person_who_watches_is_told_how_far_it_is(monkeypatch, watched):
    finished = [NOW - timedelta(days=days) for days in (92, 91)]
    for at in finished:
        saga(90, finished_at=at)
    errors = io.StringIO()
    monkeypatch.setattr(errors, "isatty", lambda: watched)
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setenv("COLUMNS", "200")
    pruned("--older-than", "90d", "--batch", "1")

    told = errors.getvalue()
    assert ("2 of 2 sagas" in told) == watched
    assert (f"commandes up to {finished[-1].isoformat(timespec='seconds')}" in told) == watched
    assert watched or not told
