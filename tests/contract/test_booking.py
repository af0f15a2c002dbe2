"""Booking flights from Python: the documented results, what may be told to fail, and the log files."""

import json
import logging
import logging.config
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import api_support
import pytest
from api_support import problem
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError

from application.fault_scenario import FaultInjectionOff
from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows.booking import BOOKING
from infrastructure import booking_log
from infrastructure.fault_injection import FaultInjection
from infrastructure.models import DefinitionRow, SagaRow
from interfaces.booking import BookingSAGAOrchestrator, booking_saga_service
from interfaces.booking_scenarios import SCENARIOS, run_saga_tests
from interfaces.examples import EXAMPLE_INPUTS
from saga_service import bootstrap

api = api_support.api

DATA = {**EXAMPLE_INPUTS["flight_booking"], "total_fare": 500.00}
NONE_FAILS = dict.fromkeys(("reserve_seat", "deduct_loyalty_points", "process_payment", "confirm_booking"), False)
COMMON = {"success", "correlation_id", "steps_completed", "saga_log"}
SUCCESS = COMMON | {"booking_reference", "total_steps"}
FAILURE = COMMON | {"failed_step", "error", "compensation_result"}


def book(failing=None, **changes):
    scenarios = {**NONE_FAILS, failing: True} if failing else {}
    return BookingSAGAOrchestrator().start_booking_saga({**DATA, **changes}, failure_scenarios=scenarios)


def engine_with(monkeypatch, **changes):
    built = bootstrap.platform()
    monkeypatch.setattr(bootstrap, "platform", lambda: replace(built, engine=replace(built.engine, **changes)))


@pytest.fixture
def faults_on(api, settings, monkeypatch):
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "FAULT_INJECTION": True}
    engine_with(monkeypatch, participants=FaultInjection(api.participants, api.clock.sleep))


def test_a_booking_that_succeeds_has_the_documented_result(api):
    result = BookingSAGAOrchestrator().start_booking_saga(DATA)

    assert set(result) >= SUCCESS
    assert (result["success"], result["booking_reference"]) == (True, "A1B2C3D4")
    assert (result["steps_completed"], result["total_steps"], result["status"]) == (4, 4, "COMPLETED")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", result["correlation_id"])
    assert str(SagaRow.objects.get(correlation_id=result["correlation_id"]).id) == result["saga_id"]
    json.dumps(result)


def test_a_booking_without_points_makes_no_call_for_them_and_is_complete(api):
    result = book(loyalty_points_to_use=0)

    assert (result["success"], result["steps_completed"]) == (True, 4)
    assert [task.step for task in api.participants.calls] == ["RESERVE_SEAT", "PROCESS_PAYMENT", "CONFIRM_BOOKING"]
    assert "[QUEUE] Step DEDUCT_LOYALTY_POINTS is not needed" in [line["message"] for line in result["saga_log"]]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_documented_scenario(faults_on, api, scenario):
    result = BookingSAGAOrchestrator().start_booking_saga(DATA, failure_scenarios=scenario.failure_scenarios)

    assert {name: result[name] for name in scenario.expected} == scenario.expected
    assert set(result) >= (FAILURE if scenario.failing else SUCCESS)
    called = [(task.step, task.attempt.action) for task in api.participants.calls]
    assert (scenario.failing, "do") not in called
    undone = [f"COMPENSATE_{step}" for step, action in called if action == "undo"]
    results = result.get("compensation_result", {"results": []})["results"]
    assert undone == [one["step"] for one in results]


def test_a_refusal_of_a_participant_says_why(api):
    api.participants.answers["PROCESS_PAYMENT"] = Rejected("Payment authorization failed")

    result = book()

    assert (result["failed_step"], result["error"]) == ("PROCESS_PAYMENT", "Payment authorization failed")
    assert (result["steps_completed"], result["status"]) == (2, "COMPENSATED")


def test_a_step_that_may_have_been_done_is_among_the_compensations(api):
    api.participants.answers["PROCESS_PAYMENT"] = Unknown("no answer in time")

    result = book()

    undone = [one["step"] for one in result["compensation_result"]["results"]]
    assert undone == [f"COMPENSATE_{step}" for step in ("PROCESS_PAYMENT", "DEDUCT_LOYALTY_POINTS", "RESERVE_SEAT")]


def test_a_booking_that_is_parked_says_what_is_still_owed(api):
    api.participants.answers["PROCESS_PAYMENT"] = Rejected("402")
    api.participants.answers["DEDUCT_LOYALTY_POINTS:undo"] = Rejected("the programme is closed")

    result = book()

    assert (result["success"], result["status"]) == (False, "STUCK")
    assert result["saga_id"] in result["error"]
    assert result["compensation_result"] == {
        "total_compensations": 2,
        "successful_compensations": 0,
        "results": [
            {"step": "COMPENSATE_DEDUCT_LOYALTY_POINTS", "success": False},
            {"step": "COMPENSATE_RESERVE_SEAT", "success": False},
        ],
    }


def test_a_booking_that_is_not_finished_in_time_says_that_it_goes_on(api):
    api.participants.answers["PROCESS_PAYMENT"] = Unavailable("busy", 5.0)

    result = book()

    assert (result["success"], result["status"], result["failed_step"]) == (False, "RUNNING", None)
    assert "it goes on" in result["error"]
    assert result["compensation_result"]["total_compensations"] == 0


def test_the_log_tells_the_story_in_order(faults_on):
    result = book("process_payment")

    said = [line["message"] for line in result["saga_log"]]
    assert said[:3] == [
        "[SAGA] Starting booking SAGA",
        "[QUEUE] Executing step: RESERVE_SEAT",
        "[SAGA] Step RESERVE_SEAT completed successfully",
    ]
    failed = next(
        line for line in result["saga_log"] if line["message"].startswith("[SAGA] Step PROCESS_PAYMENT failed")
    )
    assert (failed["level"], failed["step"]) == ("WARNING", "PROCESS_PAYMENT")
    assert said[-3:] == [
        "[COMPENSATION] Executing COMPENSATE_RESERVE_SEAT",
        "[COMPENSATION] COMPENSATE_RESERVE_SEAT completed successfully",
        "[SAGA] Booking SAGA failed, all changes reversed",
    ]


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"total_fare": -1}, "total_fare"), ({"flight_id": "first"}, "flight_id"), ({"passengers": []}, "passengers"),
     ({"meal": "none"}, "meal"), ({"total_fare": 1.005}, "total_fare")],
)  # fmt: skip
def test_wrong_data_is_answered_with_what_is_wrong_and_nothing_is_stored(api, changes, error):
    result = book(**changes)

    assert set(result) >= FAILURE
    assert (result["success"], result["failed_step"], error in result["error"]) == (False, None, True)
    assert not SagaRow.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("payment_method", "ca\0rd"), ("flight_date", date(2024, 1, 20)), ("passengers", [...]), ("meal\0", "none"),
     ("total_fare", float("nan")), ("total_fare", Decimal("NaN")), ("flight_id", {1, 2}), ("seat_class", "\ud800"),
     ("passengers", [{"first_name": "J\0hn", "last_name": "Doe", "gender": "male"}]), ((1, 2), "x")],
)  # fmt: skip
def test_data_that_json_cannot_carry_is_answered_as_wrong_data_is(api, field, value):
    result = BookingSAGAOrchestrator().start_booking_saga({**DATA, field: value})

    assert set(result) >= FAILURE
    assert (result["success"], result["failed_step"], result["status"]) == (False, None, None)
    assert str(field).rstrip("\0") in result["error"]
    assert "cannot be JSON" in result["error"]
    json.dumps(result)
    assert not SagaRow.objects.exists()


@pytest.mark.parametrize("data", [None, [], "flight 123", 123])
def test_data_that_is_no_dictionary_is_answered_as_wrong_data_is(api, data):
    result = BookingSAGAOrchestrator().start_booking_saga(data)

    assert (result["success"], "dictionary" in result["error"]) == (False, True)


def test_a_passenger_that_is_no_dictionary_is_answered_as_wrong_data_is(api):
    assert "passengers[0]" in create(passenger_data=["John"])["error"]


def test_a_database_that_does_not_answer_is_a_failure_that_says_so(api, monkeypatch):
    def gone(*_):
        raise OperationalError("connection refused")

    monkeypatch.setattr(type(bootstrap.definitions()), "newest", gone)

    result = book()

    assert set(result) >= FAILURE
    assert "database does not answer" in result["error"]


def test_a_database_without_workflows_gets_them(api, monkeypatch):
    DefinitionRow.objects.filter(name=BOOKING.name)._raw_delete("default")
    bootstrap.definitions()._newest.clear()

    assert book()["success"]


# --- failing on purpose ---------------------------------------------------------------------------------------------


def test_without_fault_injection_a_failure_is_not_to_be_had(api):
    with pytest.raises(FaultInjectionOff, match="SAGA_FAULT_INJECTION=True"):
        book("process_payment")

    assert not SagaRow.objects.exists()
    assert BookingSAGAOrchestrator().start_booking_saga(DATA, NONE_FAILS)["success"]


@pytest.mark.parametrize(
    "mark", [":fail=nostep", ":fail=PROCESS_PAYMENT=nonsense", ":fail=", ":fail=PROCESS_PAYMENT:fast"]
)
def test_a_mark_that_would_be_ignored_is_refused_and_names_what_there_is(faults_on, api, mark):
    started = {"workflow": "flight_booking", "input": DATA, "correlation_id": f"x{mark}"}

    refused = problem(api.post("/api/sagas/start/", started), 400, "invalid")

    (fault,) = refused["errors"]["correlation_id"]
    assert ("PROCESS_PAYMENT" in fault, "unavailable" in fault) == (True, True)


def test_without_fault_injection_the_mark_in_a_correlation_id_means_nothing(api):
    started = {"workflow": "flight_booking", "input": DATA, "correlation_id": "x:fail=PROCESS_PAYMENT"}

    assert api.post(api_support.START, started).status_code == 201


def test_a_step_that_there_is_not_is_named(faults_on):
    with pytest.raises(ValueError, match="'board'; there is reserve_seat, deduct"):
        BookingSAGAOrchestrator().start_booking_saga(DATA, {"board": True})


def test_of_several_steps_the_first_one_fails(faults_on):
    result = BookingSAGAOrchestrator().start_booking_saga(DATA, dict.fromkeys(reversed(NONE_FAILS), True))

    assert result["failed_step"] == "RESERVE_SEAT"


def test_any_workflow_can_be_told_to_fail_over_http(faults_on, api):
    marked = {"correlation_id": "x:fail=creation_commande"}

    answer = api.post(api_support.START, {"workflow": "commandes", "input": api_support.ORDER, **marked})

    assert answer.status_code == 409
    assert answer.json()["error"]["reason"] == "fault injection: creation_commande was told to fail"


# --- for a user -----------------------------------------------------------------------------------------------------


def create(user=7, **changes):
    return booking_saga_service.create_booking_saga(**{
        "user": user,
        "flight_ids": [123],
        "flight_dates": ["2024-01-20"],
        "passenger_data": [{"first_name": "John", "last_name": "Doe", "gender": "male"}],
        "seat_class": "Economy",
        "total_fare": 500.00,
        "loyalty_points_to_use": 1000,
        "payment_method": "card",
        **changes,
    })  # fmt: skip


@pytest.mark.parametrize("user", [7, SimpleNamespace(id=7)])
@pytest.mark.parametrize("fare", [499.99, Decimal("499.99")])
def test_a_users_booking_reaches_the_services_as_it_was_asked_for(api, user, fare):
    assert create(user, total_fare=fare)["success"]

    seat, _, payment, _ = [task.body for task in api.participants.calls]
    assert (seat["user_id"], seat["seat_class"], seat["flight_date"]) == (7, "Economy", "2024-01-20")
    assert payment["amount"] == 499.99


@pytest.mark.parametrize("flights", [[], [123, 124]])
def test_a_booking_is_for_one_flight(api, flights):
    result = create(flight_ids=flights)

    assert (result["success"], result["status"]) == (False, None)
    assert "one flight" in result["error"]
    assert not SagaRow.objects.exists()


def test_a_users_booking_can_be_told_to_fail_too(faults_on):
    assert create(failure_scenarios={"confirm_booking": True})["failed_step"] == "CONFIRM_BOOKING"


# --- the scenarios --------------------------------------------------------------------------------------------------


def test_all_scenarios_are_run_and_reported(faults_on, tmp_path, capsys):
    call_command("saga_scenarios", "booking", "--report", str(tmp_path / "report.json"))

    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["total_tests"], report["passed"], report["failed"]) == (5, 5, 0)
    assert [test["name"] for test in report["tests"]] == [scenario.name for scenario in SCENARIOS]
    assert "5 of 5 passed" in capsys.readouterr().out


def test_a_scenario_that_goes_otherwise_is_a_failure(faults_on, api, tmp_path, capsys):
    api.participants.answers["CONFIRM_BOOKING"] = Rejected("no")

    with pytest.raises(SystemExit) as ended:
        call_command("saga_scenarios", "booking", "--report", str(tmp_path / "report.json"))

    assert ended.value.code == 1
    assert "FAILED  Success\n        success: expected True, found False" in capsys.readouterr().out
    assert run_saga_tests()["failed"] == 1


def test_the_scenarios_need_fault_injection(api, tmp_path):
    with pytest.raises(CommandError, match="SAGA_FAULT_INJECTION=True"):
        call_command("saga_scenarios", "booking", "--report", str(tmp_path / "report.json"))
    assert not api.participants.calls, "nothing was booked before"


# --- log files ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["as published", "with correlation ids"])
def correlation(request):
    return request.param


@pytest.fixture
def logs(tmp_path, correlation):
    """The two files, as the settings would set them up."""
    before = {name: logging.getLogger(name).handlers[:] for name in booking_log.FILES}
    empty = {"version": 1, "disable_existing_loggers": False, "formatters": {}, "handlers": {}, "loggers": {}}
    logging.config.dictConfig(booking_log.with_files(empty, str(tmp_path), "DEBUG", correlation=correlation))
    yield tmp_path
    for name, handlers in before.items():
        for handler in logging.getLogger(name).handlers:
            handler.close()
        logging.getLogger(name).handlers = handlers


def test_what_happens_is_written_in_the_documented_format(faults_on, logs, correlation, monkeypatch):
    observe = bootstrap.platform().engine.observe
    engine_with(monkeypatch, observe=booking_log.observed(observe))
    result = book("process_payment")

    lines = (logs / "saga_orchestrator.log").read_text().splitlines()
    end = f" [{result['correlation_id']}]" if correlation else ""
    shape = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - \[flight\.saga_orchestrator\] - ([A-Z]+ - \[[A-Z]+\] .+)"
    said = [re.fullmatch(shape, line)[1] for line in lines]
    assert said[:3] == [
        f"INFO - [SAGA] Starting booking SAGA{end}",
        f"INFO - [QUEUE] Executing step: RESERVE_SEAT{end}",
        f"INFO - [SAGA] ✅ Step RESERVE_SEAT completed successfully{end}",
    ]
    assert all(line.endswith(result["correlation_id"] + "]") == correlation for line in lines)
    assert sum("✅" in line for line in lines) == 2
    (booked,) = (logs / "saga_bookings.log").read_text().splitlines()
    assert json.loads(booked) == result


def test_orders_are_not_written_there(api, logs, monkeypatch):
    engine_with(monkeypatch, observe=booking_log.observed(bootstrap.platform().engine.observe))

    assert api.order().status_code == 201
    assert list(logs.iterdir()) == []
