"""The published examples of the creation of partners, as they are written; host and port aside.

`tests/integration/test_partners_over_the_broker.py` runs the first of them over a real broker, to its end.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import api_support
import pytest
from api_support import UNKNOWN_ID, problem
from examples_support import PARTNER_STARTED as STARTED
from examples_support import PARTNER_STATUS as STATUS
from examples_support import START_PARTNER as START
from examples_support import curl, same_shape

from application.messages import signal
from application.recovery import claim_due, drive
from domain.outcomes import Succeeded
from infrastructure.models import OutboxRow
from saga_service import bootstrap

api = api_support.api

ROOT = Path(__file__).parents[2]
ERROR = """{
  "error": "Error description",
  "codigo": "ERROR_CODE",
  "saga_id": "550e8400-e29b-41d4-a716-446655440000",
  "timestamp": "2025-09-19T16:58:19Z"
}"""
HOST = "http://localhost:5003"


@pytest.fixture(autouse=True)
def _integraciones(api):
    api.participants.answers["create_partner:do"] = Succeeded({"partner_id": "partner-123"})


def completed(api):
    """The id of a saga that a worker and an answer have completed."""
    saga_id = curl(api, START).json()["saga_id"]
    complete()
    return saga_id


def complete():
    """What a worker does, and the answer of alianzas."""
    engine = bootstrap.platform().engine
    lease, claimed = claim_due(engine, 10)
    for one in claimed:
        drive(engine, one, lease)
    (command,) = OutboxRow.objects.all()
    answer = {"type": "alliance_created", "alliance_id": "alliance-456"}
    assert signal(engine, command.saga_id, answer, "administracion-financiera-compliance")


def test_a_partner_creation_is_started(api):
    answer = curl(api, START)

    assert answer.status_code == 202
    same_shape(answer.json(), STARTED)
    assert {**answer.json(), "saga_id": None} == {
        "mensaje": "Partner creation saga started successfully",
        "saga_id": None,
        "correlation_id": "unique-correlation-id",
        "status": "started",
    }


def test_its_status_is_told(api):
    saga_id = completed(api)

    shown = curl(api, f"curl {HOST}/api/v1/saga/status/{saga_id}")

    assert shown.status_code == 200
    same_shape(shown.json(), STATUS)
    saga = shown.json()["saga"]
    assert (saga["status"], saga["partner_id"], saga["alliance_id"]) == ("completed", "partner-123", "alliance-456")
    assert saga["completed_at"].endswith("Z")


def test_the_active_sagas_are_listed(api):
    saga_id = curl(api, START).json()["saga_id"]

    active = curl(api, f"curl {HOST}/api/v1/saga/active").json()
    assert [saga["saga_id"] for saga in active["sagas"]] == [saga_id]


def test_the_service_says_that_it_is_well(api):
    assert curl(api, f"curl {HOST}/health").status_code == 200


def test_an_error_is_told_in_the_published_words(api):
    refused = problem(curl(api, f"curl {HOST}/api/v1/saga/status/{UNKNOWN_ID}"), 404)

    same_shape(refused, ERROR)
    assert refused["codigo"] == "SAGA_NOT_FOUND"


def test_a_request_that_lacks_something_is_told_so_in_the_published_words(api):
    body = START.replace('"email": "partner@example.com",', "")

    refused = problem(curl(api, body), 400)

    same_shape(refused, ERROR)
    assert "email" in refused["error"]


@pytest.mark.parametrize("options", [["--type", "all"], []])
def test_the_events_are_monitored_by_the_script(options):
    command = [sys.executable, "scripts/monitor_saga_events.py", *options]
    environment = {**os.environ, "BROKER_URL": ""}

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "BROKER_URL is not set" in done.stderr


def test_the_help_of_a_script_shows_how_it_is_called():
    for script in ("scripts/monitor_saga_events.py", "run_saga_tests.py"):
        command = [sys.executable, script, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert done.stdout.startswith(f"usage: {Path(script).name} [-h]"), done.stdout + done.stderr


def test_the_integration_script_creates_a_partner(api, capsys):
    script = runpy.run_path(str(ROOT / "scripts" / "test_saga_integration.py"))

    def ask(method, path, body):
        return api.call(method, path, body).json()

    saga = script["create_partner"](ask, sleep=lambda _: complete())

    assert saga["status"] == "completed"
    assert capsys.readouterr().out.splitlines()[-1] == "completed: partner partner-123, alliance alliance-456"


def test_the_integration_script_says_that_nobody_answers():
    command = [sys.executable, "scripts/test_saga_integration.py", "--api", "http://127.0.0.1:1"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, "does not answer" in done.stderr) == (1, True)


def test_the_unit_tests_of_partner_creation_are_found_by_their_script(tmp_path):
    command = [sys.executable, str(ROOT / "tests" / "test_saga_flow.py"), "--collect-only", "-q"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_messages.py::TestPartnerCreation" in done.stdout
