"""The bettors' API and the Python calls: start, roll back, status, list and retry, as their users know them."""

from datetime import date
from uuid import UUID, uuid4

import api_support
import pytest
from api_support import CASHED_OUT, ORDER, ORDERS, UNKNOWN_ID, problem, shaped, stored

from application.recovery import claim_due, drive
from domain.exceptions import IdempotencyConflict, InputInvalid, SagaDriven, SagaNotFound
from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from domain.workflows.cashout import ANY_BOOKMAKER
from infrastructure.models import SagaRow
from interfaces import contracts
from interfaces.platform import engine
from sagas.orchestrator import SagaOrchestrator

api = api_support.api

ROOT = "/api/sagas/cashout/"
START, ROLLBACK, LIST = f"{ROOT}start/", f"{ROOT}rollback/", f"{ROOT}list/"
GIVEN = {"bet_slip_id": 123, "user_id": 456, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"}
STEPS = list(CASHED_OUT)
NOW = {"Prefer": "wait=0"}


def status(saga_id):
    return f"{ROOT}status/{saga_id}/"


def retry(saga_id, step):
    return f"{ROOT}{saga_id}/retry/{step}/"


def start(api, **answers):
    api.participants.answers.update(answers)
    return api.post(START, GIVEN).json()["saga_transaction_id"]


def roll_back(api, saga_id, **headers):
    return api.post(ROLLBACK, {"saga_transaction_id": saga_id, "reason": "User cancelled"}, **headers)


def worker():
    """One look of a worker at what is due."""
    lease, claimed = claim_due(engine(), 10)
    for saga in claimed:
        assert drive(engine(), saga, lease)


@pytest.fixture
def working(api, monkeypatch):
    """A worker looks whenever somebody waits."""
    sleep = api.clock.sleep
    monkeypatch.setattr(api.clock, "sleep", lambda seconds: (sleep(seconds), worker()))


def undone(api):
    return [task.step for task in api.participants.calls if task.attempt.action == "undo"]


@pytest.fixture
def parked(api):
    """The liability was refused, and so was the debit that takes the credit back."""
    refused = {"liability_update": Rejected("locked"), "wallet_credit:undo": Rejected("the money is spent")}
    return start(api, **refused)


# --- start ----------------------------------------------------------------------------------------------------------


def test_a_cash_out_is_answered_with_every_step(api):
    answer = api.post(START, GIVEN, X_Correlation_ID="slip-123")

    saga = shaped(answer, contracts.CASHOUT, 201)
    assert {name: saga[name] for name in GIVEN} == GIVEN
    assert (saga["saga_type"], saga["status"], saga["state"]) == ("cashout_flow", "COMPLETED", "completed")
    assert (saga["correlation_id"], saga["amount"], saga["transaction_id"]) == ("slip-123", 126.66, "t-1")
    assert [(step["order"], step["name"], step["status"]) for step in saga["steps"]] == [
        (order, name, "COMPLETED") for order, name in enumerate(STEPS, start=1)
    ]
    assert saga["progress"] == {"completed_steps": 6, "total_steps": 6, "percentage": 100}
    assert saga["events"][0]["event_type"] == "saga_started"
    assert saga["events"][-1]["event_type"] == "saga_completed"
    assert answer.headers["Location"] == status(saga["saga_transaction_id"])
    assert shaped(api.get(answer.headers["Location"]), contracts.CASHOUT) == saga


def test_the_bookmaker_is_the_house_unless_told(api):
    saga = shaped(api.post(START, {"bet_slip_id": 123, "user_id": 456}), contracts.CASHOUT, 201)
    assert {name: saga[name] for name in ANY_BOOKMAKER} == ANY_BOOKMAKER


@pytest.mark.parametrize(
    ("answers", "code", "undone_steps"),
    [
        ({"cashout_validation": Rejected("not yours")}, 409, []),
        ({"wallet_credit": Rejected("frozen")}, 409, []),
        ({"liability_update": Rejected("locked")}, 409, ["wallet_credit"]),
        ({"cashout_completion": Rejected("held")}, 409, ["liability_update", "wallet_credit"]),
        ({"cashout_completion": Unavailable("down")}, 502, ["liability_update", "wallet_credit"]),
        ({"cashout_completion": Unknown("lost")}, 502, ["cashout_completion", "liability_update", "wallet_credit"]),
    ],
)
def test_a_failure_is_answered_with_what_was_undone(api, answers, code, undone_steps):
    api.participants.answers.update(answers)
    (failed,) = answers

    saga = shaped(api.post(START, GIVEN), contracts.CASHOUT, code)

    assert (saga["failed_step"], saga["error"], saga["amount"]) == (failed, answers[failed].reason, None)
    assert undone(api) == undone_steps
    assert {step["name"] for step in saga["steps"] if step["status"] == "COMPENSATED"} == set(undone_steps)
    assert saga["state"] == ("rolled_back" if undone_steps else "failed")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"bet_slip_id", "user_id"}),
        ({**GIVEN, "bet_slip_id": "123"}, {"bet_slip_id"}),
        ({**GIVEN, "bet_slip_id": 0, "user_id": -1}, {"bet_slip_id", "user_id"}),
        ({**GIVEN, "user_id": 2**63}, {"user_id"}),
        ({**GIVEN, "bookmaker_type": "", "bookmaker_id": "x" * 101}, {"bookmaker_type", "bookmaker_id"}),
        ({**GIVEN, "bookmaker_type": None}, {"bookmaker_type"}),
        ({**GIVEN, "amount": 1000}, {"input"}),
        ([GIVEN], {"input"}),
        ("123", {"input"}),
        (None, {"bet_slip_id", "user_id"}),
    ],
)
def test_a_start_is_refused_field_by_field_and_nothing_is_stored(api, body, fields):
    before = stored()

    assert set(problem(api.post(START, body), 400)["errors"]) == fields
    assert stored() == before


def test_a_start_can_be_repeated_safely(api):
    first, second = (api.post(START, GIVEN, Idempotency_Key="tap-1") for _ in range(2))

    assert second.json() == first.json()
    assert len(api.participants.calls) == 6
    problem(api.post(START, {**GIVEN, "user_id": 457}, Idempotency_Key="tap-1"), 422, "idempotency_key_reused")


def test_a_cash_out_that_takes_too_long_is_undone_after_its_timeout(api):
    def slow(_):
        api.clock.sleep(12)
        return Succeeded({"transaction_id": "t-1"})

    api.participants.answers["wallet_credit"] = slow
    saga = shaped(api.post(START, GIVEN), contracts.CASHOUT, 504)
    assert undone(api) == ["wallet_credit"]
    assert saga["state"] == "rolled_back"


def test_a_step_is_not_repeated_without_end(api):
    api.participants.answers["live_odds_fetch"] = Unavailable("down")
    saga = shaped(api.post(START, GIVEN), contracts.CASHOUT, 502)
    step = saga["steps"][1]
    assert (step["status"], step["attempts"], step["error"]) == ("FAILED", 2, "down")


# --- status and list ------------------------------------------------------------------------------------------------


def test_the_status_of_one_that_waits_says_where_it_stands(api):
    api.participants.answers["liability_update"] = Unavailable("busy", 5.0)
    answer = api.post(START, GIVEN)
    saga = shaped(answer, contracts.CASHOUT, 202)
    assert answer.headers["Retry-After"] == "1"

    seen = shaped(api.get(status(saga["saga_transaction_id"])), contracts.CASHOUT)
    assert (seen["status"], seen["current_step"]) == ("RUNNING", "liability_update")
    assert seen["progress"] == {"completed_steps": 4, "total_steps": 6, "percentage": 66}


def test_what_is_no_cash_out_is_not_found(api):
    order = api.order().json()["saga_id"]
    for saga_id in (order, UNKNOWN_ID):
        problem(api.get(status(saga_id)), 404, "saga_not_found")
        problem(roll_back(api, saga_id), 404, "saga_not_found")
        problem(api.post(retry(saga_id, "wallet_credit")), 404, "saga_not_found")
    assert api.get(f"{ORDERS}{order}/").json()["etat"] == "SAGA_TERMINEE"


def test_cash_outs_are_listed_newest_first_and_nothing_else_is(api):
    done = start(api)
    api.post(ORDERS, ORDER)
    failed = start(api, cashout_validation=Rejected("not yours"))

    page = shaped(api.get(LIST), contracts.CASHOUT_PAGE)
    assert [(row["saga_transaction_id"], row["failed_step"]) for row in page["results"]] == [
        (failed, "cashout_validation"),
        (done, None),
    ]
    assert {name: page["results"][0][name] for name in GIVEN} == GIVEN
    first = shaped(api.get(f"{LIST}?limit=1"), contracts.CASHOUT_PAGE)
    rest = shaped(api.get(f"{LIST}?limit=1&cursor={first['next']}"), contracts.CASHOUT_PAGE)
    assert [row["saga_transaction_id"] for row in rest["results"]] == [done]
    assert rest["next"] is None


def test_the_list_is_filtered(api):
    done, failed = start(api), start(api, cashout_validation=Rejected("not yours"))

    def ids(query):
        return [row["saga_transaction_id"] for row in api.get(f"{LIST}?{query}").json()["results"]]

    assert ids("status=COMPLETED") == ids("state=completed") == [done]
    assert ids(f"q={failed}") == [failed]
    assert ids("active=true") == []


def test_a_parameter_of_the_list_that_there_is_not_is_named(api):
    errors = problem(api.get(f"{LIST}?workflow=commandes&status=DONE"), 400)["errors"]
    assert set(errors) == {"workflow", "status"}


def test_the_list_costs_the_same_whatever_is_on_it(api, django_assert_num_queries):
    for _ in range(3):
        start(api)
    api.get(LIST)
    with django_assert_num_queries(2):
        api.get(LIST)


def test_the_statistics_count_cash_outs(api):
    start(api)
    assert api.get("/api/sagas/statistics/").json()["by_status"]["cashout_flow"] == {"COMPLETED": 1}


# --- rollback -------------------------------------------------------------------------------------------------------


def test_a_completed_cash_out_is_rolled_back_last_step_first(api, working):
    saga = shaped(roll_back(api, start(api)), contracts.CASHOUT)

    assert (saga["status"], saga["state"], saga["error"]) == ("COMPENSATED", "rolled_back", "User cancelled")
    assert undone(api) == ["cashout_completion", "liability_update", "wallet_credit"]
    assert [step["status"] for step in saga["steps"]] == [*["COMPLETED"] * 3, *["COMPENSATED"] * 3]
    (asked,) = [event for event in saga["events"] if event["event_type"] == "compensation_requested"]
    assert (asked["actor"], asked["message"]) == ("development", "User cancelled")
    assert (saga["amount"], saga["transaction_id"]) == (None, None)


def test_one_that_waits_for_a_retry_is_rolled_back(api, working):
    saga = shaped(roll_back(api, start(api, liability_update=Unavailable("busy", 8.0))), contracts.CASHOUT)

    assert saga["status"] == "COMPENSATED"
    assert undone(api) == ["wallet_credit"]


def test_a_rollback_waits_for_the_driver_of_a_running_cash_out(api, working):
    saga_id = api.post(START, GIVEN, Prefer="respond-async").json()["saga_transaction_id"]
    lease, (claimed,) = claim_due(engine(), 1)
    assert str(claimed.saga.id) == saga_id
    engine().checkpoint(claimed.saga, [], lease, engine().clock.now())

    problem(roll_back(api, saga_id, **NOW), 409, "saga_driven")
    api.clock.sleep(1)
    saga = shaped(roll_back(api, saga_id), contracts.CASHOUT)
    assert saga["status"] in {"FAILED", "COMPENSATED"}


def test_a_rollback_that_no_worker_has_done_yet_says_where_to_look(api):
    saga_id = start(api)

    answer = roll_back(api, saga_id, **NOW)

    assert shaped(answer, contracts.CASHOUT, 202)["status"] == "COMPENSATING"
    assert (answer.headers["Location"], answer.headers["Retry-After"]) == (status(saga_id), "1")
    worker()
    assert api.get(status(saga_id)).json()["status"] == "COMPENSATED"


def test_rolled_back_again_nothing_changes(api, working):
    saga_id = start(api)
    first, second = roll_back(api, saga_id).json(), shaped(roll_back(api, saga_id), contracts.CASHOUT)
    assert second == first


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"saga_transaction_id", "reason"}),
        ({"saga_transaction_id": "7", "reason": "r"}, {"saga_transaction_id"}),
        ({"saga_transaction_id": 7, "reason": "r"}, {"saga_transaction_id"}),
        ({"saga_transaction_id": UNKNOWN_ID, "reason": " "}, {"reason"}),
        ({"saga_transaction_id": UNKNOWN_ID, "reason": "x" * 501}, {"reason"}),
        ({"saga_transaction_id": UNKNOWN_ID, "reason": "r", "force": True}, {"force"}),
        ([], {"body"}),
    ],
)
def test_a_rollback_is_refused_field_by_field(api, body, fields):
    assert set(problem(api.post(ROLLBACK, body), 400)["errors"]) == fields


# --- retry ----------------------------------------------------------------------------------------------------------


def test_a_step_that_waits_is_tried_at_once(api, working):
    saga_id = start(api, liability_update=Unavailable("busy", 8.0))
    api.participants.answers.clear()

    saga = shaped(api.post(retry(saga_id, "liability_update"), {"reason": "risk is back"}), contracts.CASHOUT)

    assert (saga["status"], saga["steps"][4]["attempts"]) == ("COMPLETED", 2)
    assert "risk is back" in {event["message"] for event in saga["events"]}


def test_an_undo_that_was_given_up_is_tried_again(api, working, parked):
    before = shaped(api.get(status(parked)), contracts.CASHOUT)
    assert (before["status"], before["current_step"]) == ("STUCK", "wallet_credit")
    assert before["steps"][3]["status"] == "COMPENSATION_FAILED"
    api.participants.answers.clear()

    saga = shaped(api.post(retry(parked, "wallet_credit")), contracts.CASHOUT)

    assert (saga["status"], saga["steps"][3]["compensation_attempts"]) == ("COMPENSATED", 2)
    assert "retry of wallet_credit" in {event["message"] for event in saga["events"]}


def test_only_the_step_at_which_it_stands_can_be_retried(api, parked):
    answer = problem(api.post(retry(parked, "live_odds_fetch")), 409, "not_allowed")
    assert answer["detail"] == "The saga does not stand at live_odds_fetch; it stands at wallet_credit."
    api.participants.answers.clear()
    problem(api.post(retry(start(api), "wallet_credit")), 409, "not_allowed")


def test_a_step_that_there_is_not_is_named(api, parked):
    assert "it has cashout_validation" in problem(api.post(retry(parked, "payment")), 404)["detail"]


@pytest.mark.parametrize("body", [{"reason": ""}, {"reason": 7}, {"why": "x"}, []])
def test_a_retry_is_refused_field_by_field(api, parked, body):
    problem(api.post(retry(parked, "wallet_credit"), body), 400, "invalid")


# --- from Python ----------------------------------------------------------------------------------------------------


def test_the_python_calls_of_the_description(api, working):
    orchestrator = SagaOrchestrator()

    saga = orchestrator.start_cashout_saga(bet_slip_id=123, user_id=456, bookmaker_type="SYSTEM", bookmaker_id="system")
    assert (saga.status, saga.origin.input) == ("COMPLETED", GIVEN)
    row = SagaRow.objects.get(id=saga.id)
    assert row.status == "COMPLETED"

    back = orchestrator.rollback_cashout_saga(saga_transaction_id=str(saga.id), reason="User cancelled")
    assert back.status == "COMPENSATED"
    assert orchestrator.get_cashout_saga(str(saga.id)).failure.reason == "User cancelled"


def test_python_is_told_what_is_wrong(api):
    orchestrator = SagaOrchestrator(wait=0)
    with pytest.raises(InputInvalid):
        orchestrator.start_cashout_saga(bet_slip_id="123", user_id=456)
    for wrong in ("123", str(uuid4()), UUID(UNKNOWN_ID)):
        with pytest.raises(SagaNotFound):
            orchestrator.rollback_cashout_saga(saga_transaction_id=wrong, reason="User cancelled")
    with pytest.raises(InputInvalid):
        orchestrator.start_cashout_saga(bet_slip_id=123, user_id=456, correlation_id="a\r\nX-Evil: 1")
    saga = orchestrator.start_cashout_saga(bet_slip_id=123, user_id=456)
    claim_due(engine(), 1)
    with pytest.raises(SagaDriven):
        orchestrator.rollback_cashout_saga(saga_transaction_id=saga.id, reason="User cancelled")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"bet_slip_id": date(2024, 1, 20)}, "bet_slip_id"), ({"user_id": ...}, "user_id"),
     ({"bookmaker_id": "sys\0tem"}, "bookmaker_id"), ({"correlation_id": "a\0b"}, "correlation_id"),
     ({"correlation_id": "x" * 129}, "correlation_id"), ({"idempotency_key": "tap\0"}, "idempotency_key"),
     ({"idempotency_key": ""}, "idempotency_key"), ({"idempotency_key": 7}, "idempotency_key")],
)  # fmt: skip
def test_python_is_told_the_field_of_what_cannot_be_stored(api, change, field):
    with pytest.raises(InputInvalid) as refused:
        SagaOrchestrator().start_cashout_saga(**{"bet_slip_id": 123, "user_id": 456, **change})

    assert list(refused.value.faults) == [field]
    assert stored()["sagas"] == 0


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\0b", None, 7])
def test_a_rollback_from_python_needs_a_reason_that_can_be_kept(api, reason):
    orchestrator = SagaOrchestrator()
    saga = orchestrator.start_cashout_saga(bet_slip_id=123, user_id=456)

    with pytest.raises(InputInvalid) as refused:
        orchestrator.rollback_cashout_saga(saga_transaction_id=saga.id, reason=reason)

    assert list(refused.value.faults) == ["reason"]
    with pytest.raises(SagaNotFound):
        orchestrator.rollback_cashout_saga(saga_transaction_id=7, reason="User cancelled")


def test_a_start_from_python_can_be_repeated_safely(api):
    orchestrator = SagaOrchestrator()
    slip = {"bet_slip_id": 123, "user_id": 456, "idempotency_key": "tap-1"}

    assert orchestrator.start_cashout_saga(**slip).id == orchestrator.start_cashout_saga(**slip).id
    assert len(api.participants.calls) == 6
    with pytest.raises(IdempotencyConflict):
        orchestrator.start_cashout_saga(**{**slip, "user_id": 457})
