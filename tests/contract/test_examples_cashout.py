"""The published examples of the cash-outs, as they are written; host and port aside."""

import re
import runpy
from pathlib import Path

import api_support
import pytest
from api_support import fits, shaped, stored
from examples_support import curl, printed, typed

from application.queries import Check
from application.recovery import claim_due, drive
from domain.outcomes import Rejected, Succeeded
from interfaces import contracts
from interfaces.platform import engine
from saga_service import bootstrap

api = api_support.api

STEPS = [
    "cashout_validation",
    "live_odds_fetch",
    "cashout_quote",
    "wallet_credit",
    "liability_update",
    "cashout_completion",
]
ROOT = Path(__file__).parents[2]
HOST = "http://localhost:8008"
USAGE = """
    from sagas.orchestrator import SagaOrchestrator

    orchestrator = SagaOrchestrator()

    saga = orchestrator.start_cashout_saga(
        bet_slip_id=123,
        user_id=456,
        bookmaker_type='SYSTEM',
        bookmaker_id='system'
    )
    print(saga.status)

    orchestrator.rollback_cashout_saga(
        saga_transaction_id=str(saga.id),
        reason="User cancelled"
    )
"""


@pytest.fixture(autouse=True)
def _worker(api, monkeypatch):
    """A worker looks whenever somebody waits."""
    sleep = api.clock.sleep

    def work(seconds):
        sleep(seconds)
        lease, claimed = claim_due(engine(), 10)
        for saga in claimed:
            drive(engine(), saga, lease)

    monkeypatch.setattr(api.clock, "sleep", work)


def started(api):
    answer = curl(
        api,
        f"""curl -X POST {HOST}/api/sagas/cashout/start/ -H "Content-Type: application/json" -d '{{
            "bet_slip_id": 123, "user_id": 456, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"
        }}'""",
    )
    return shaped(answer, contracts.CASHOUT, answer.status_code)


def test_the_usage_example_starts_a_cash_out_and_rolls_it_back(api, capsys):
    typed(USAGE)

    assert printed(capsys) == ["COMPLETED"]
    assert [call.step for call in api.participants.calls[:6]] == STEPS
    undone = [call.step for call in api.participants.calls if call.attempt.action == "undo"]
    assert undone == ["cashout_completion", "liability_update", "wallet_credit"]


def test_the_debug_commands_show_a_saga_its_steps_and_its_events(api, capsys):
    api.participants.answers["liability_update"] = Rejected("locked")
    saga_id = started(api)["saga_transaction_id"]

    typed(f"""
        from sagas.models import SagaTransaction
        saga = SagaTransaction.objects.get(id='{saga_id}')
        print(saga.status, saga.steps.all())

        for event in saga.events.all():
            print(f"{{event.event_type}}: {{event.message}}")
    """)

    status, *events = printed(capsys)
    assert status.startswith("COMPENSATED [<SagaStep: 1 cashout_validation COMPLETED>, ")
    assert "<SagaStep: 4 wallet_credit COMPENSATED>, <SagaStep: 5 liability_update FAILED (locked)>" in status
    assert "<SagaStep: 6 cashout_completion PENDING>]" in status
    assert events[0] == "saga_started: pending"
    assert "step_failed: liability_update: locked" in events
    assert "undo_succeeded: wallet_credit (undo)" in events
    assert events[-1] == "saga_compensated: rolled_back"
    assert all(re.fullmatch(r"\w+: .+", line) and "None" not in line for line in events)


def test_a_saga_that_there_is_not_is_not_found_in_a_shell(api):
    from sagas.models import SagaTransaction  # noqa: PLC0415 - as an example has it

    for wrong in ("saga_id", api_support.UNKNOWN_ID, 7):
        with pytest.raises(SagaTransaction.DoesNotExist):
            SagaTransaction.objects.get(id=wrong)


def test_a_saga_of_any_workflow_can_be_looked_at_in_a_shell(api, capsys):
    order = api.order().json()["saga_id"]

    typed(f"""
        from sagas.models import SagaTransaction
        print(SagaTransaction.objects.get(id='{order}').steps.all())
    """)

    assert "verification_stock[0] COMPLETED" in printed(capsys)[0]


# --- the cash-out's own routes --------------------------------------------------------------------------------------


def test_start_and_status_tell_every_step(api):
    saga = started(api)

    shown = curl(api, f"curl {HOST}/api/sagas/cashout/status/{saga['saga_transaction_id']}/")
    assert shaped(shown, contracts.CASHOUT)["status"] == "COMPLETED"
    assert [step["name"] for step in shown.json()["steps"]] == STEPS


def test_rollback_undoes_the_cash_out(api):
    saga_id = started(api)["saga_transaction_id"]
    body = f'{{"saga_transaction_id": "{saga_id}", "reason": "User cancelled"}}'

    answer = curl(
        api, f"curl -X POST {HOST}/api/sagas/cashout/rollback/ -H 'Content-Type: application/json' -d '{body}'"
    )

    assert shaped(answer, contracts.CASHOUT)["status"] == "COMPENSATED"


def test_list_has_the_cash_out(api):
    saga_id = started(api)["saga_transaction_id"]

    page = curl(api, f"curl {HOST}/api/sagas/cashout/list/").json()
    assert [row["saga_transaction_id"] for row in page["results"]] == [saga_id]


def test_retry_tries_one_step_again(api):
    refused = {"liability_update": Rejected("locked"), "wallet_credit:undo": Rejected("the money is spent")}
    api.participants.answers |= refused
    saga_id = started(api)["saga_transaction_id"]
    api.participants.answers["wallet_credit:undo"] = Succeeded()

    answer = curl(api, f"curl -X POST {HOST}/api/sagas/cashout/{saga_id}/retry/wallet_credit/")

    assert shaped(answer, contracts.CASHOUT)["status"] == "COMPENSATED"


# --- the general routes ---------------------------------------------------------------------------------------------


def test_a_saga_is_started_by_the_general_route_too(api):
    answer = curl(
        api,
        f"""curl -X POST {HOST}/api/sagas/start/ -H 'Content-Type: application/json' -d '{{
            "saga_type": "cashout_flow",
            "input": {{"bet_slip_id": 123, "user_id": 456, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"}}
        }}'""",
    )
    assert shaped(answer, contracts.SAGA, 201)["status"] == "COMPLETED"


@pytest.mark.parametrize("path", ["transactions", "definitions", "events"])
def test_the_general_lists_have_it(api, path):
    started(api)

    rows = curl(api, f"curl {HOST}/api/sagas/{path}/").json()["results"]
    assert rows


def test_the_definition_has_six_steps(api):
    rows = curl(api, f"curl {HOST}/api/sagas/definitions/").json()["results"]

    (found,) = [row for row in rows if row["name"] == "cashout_flow"]
    whole = curl(api, f"curl {HOST}/api/sagas/definitions/cashout_flow/{found['version']}/").json()
    assert [step["name"] for step in whole["steps"]] == STEPS


def test_the_statistics_count_it(api):
    started(api)

    assert fits(curl(api, f"curl {HOST}/api/sagas/statistics/").json(), contracts.STATISTICS)["total"] == 1


@pytest.mark.parametrize("path", ["/api/health/", "/api/status/"])
def test_the_service_says_that_it_is_well(api, path):
    assert curl(api, f"curl {HOST}{path}").status_code == 200


@pytest.mark.parametrize(("path", "accepted"), [("docs", "text/html"), ("redoc", "text/html"), ("schema", "*/*")])
def test_the_documentation_is_where_it_was(api, path, accepted):
    assert curl(api, f"curl -H 'Accept: {accepted}' {HOST}/api/{path}/").status_code == 200


# --- the scripts ----------------------------------------------------------------------------------------------------


def run(script):
    runpy.run_path(str(ROOT / script), run_name="__main__")


@pytest.fixture(autouse=True)
def _set_up(monkeypatch):
    monkeypatch.setattr("sys.argv", ["script"])
    monkeypatch.setitem(bootstrap.platform().checks, "gateway", lambda: Check(ok=True))
    monkeypatch.setattr("django.setup", lambda: None)  # it is, and the log's handlers are the tests'


@pytest.mark.parametrize("script", ["load_cashout_fixture.py", "test_cashout_saga.py"])
def test_help_does_nothing(api, capsys, monkeypatch, script):
    monkeypatch.setattr("sys.argv", [script, "--help"])
    before = stored()

    with pytest.raises(SystemExit) as ended:
        run(script)

    assert (ended.value.code, stored()) == (0, before)
    assert printed(capsys)[0].startswith(f"usage: {script}")


def test_a_cash_out_without_a_gateway_is_not_begun_and_says_what_to_start(api, monkeypatch):
    monkeypatch.setitem(bootstrap.platform().checks, "gateway", lambda: Check(ok=False))
    before = stored()

    with pytest.raises(SystemExit) as ended:
        run("test_cashout_saga.py")

    assert "make run" in ended.value.code
    assert stored() == before


def test_the_workflow_is_loaded(api, capsys):
    run("load_cashout_fixture.py")

    (said,) = printed(capsys)
    assert said.startswith("cashout_flow version ")
    assert said.endswith(f"is stored; 6 steps: {', '.join(STEPS)}")


@pytest.mark.parametrize(
    ("answers", "status", "last"),
    [({}, 0, "  6 cashout_completion: COMPENSATED"), ({"wallet_credit": Rejected("frozen")}, 1, "FAILED, frozen")],
)
def test_a_cash_out_is_tried(api, capsys, answers, status, last):
    api.participants.answers |= answers

    with pytest.raises(SystemExit) as ended:
        run("test_cashout_saga.py")

    assert (int(ended.value.code), printed(capsys)[-1].endswith(last)) == (status, True)
