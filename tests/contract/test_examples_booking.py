"""The published examples of the flight bookings, as they are written."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import api_support
import pytest
from django.contrib.auth.models import User
from examples_support import curl, printed, same_shape, typed

from domain.outcomes import Rejected
from infrastructure.fault_injection import FaultInjection
from saga_service import bootstrap

api = api_support.api

ROOT = Path(__file__).parents[2]
PASSENGERS = "[{'first_name': 'John', 'last_name': 'Doe', 'gender': 'male'}]"
BOOKING = """
from flight.saga_orchestrator import BookingSAGAOrchestrator

orchestrator = BookingSAGAOrchestrator()

booking_data = {{
    'flight_id': 123,
    'user_id': 1,
    'total_fare': 500.00,
    'loyalty_points_to_use': 1000,
    'payment_method': 'card',
    'passengers': {passengers}
}}
"""
SUCCESS = """
result = orchestrator.start_booking_saga(booking_data, failure_scenarios={})
"""
FAILURE = """
failure_scenarios = {
    'reserve_seat': False,
    'deduct_loyalty_points': False,
    'process_payment': True,
    'confirm_booking': False
}
result = orchestrator.start_booking_saga(booking_data, failure_scenarios=failure_scenarios)
"""
CHECK = """
if result.get('success'):
    print(f"Booking confirmed: {result.get('booking_reference')}")
else:
    print(f"Failed at: {result.get('failed_step')}")
    print(f"Compensations executed: {result.get('compensation_result')}")
"""
SHOW = "\nimport json; print(json.dumps(result))\n"
SUCCEEDED = """{
  "success": true,
  "correlation_id": "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d",
  "booking_reference": "A1B2C3D4",
  "steps_completed": 4,
  "total_steps": 4,
  "saga_log": [{}]
}"""
FAILED = """{
  "success": false,
  "correlation_id": "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d",
  "failed_step": "PROCESS_PAYMENT",
  "error": "Payment authorization failed",
  "steps_completed": 2,
  "compensation_result": {
    "total_compensations": 2,
    "successful_compensations": 2,
    "results": [{"step": "COMPENSATE_DEDUCT_LOYALTY_POINTS", "success": true}]
  },
  "saga_log": [{}]
}"""


@pytest.fixture(autouse=True)
def _faults_on(api, settings, monkeypatch):
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "FAULT_INJECTION": True}
    built = bootstrap.platform()
    engine = replace(built.engine, participants=FaultInjection(api.participants, api.clock.sleep))
    monkeypatch.setattr(bootstrap, "platform", lambda: replace(built, engine=engine))


def test_a_booking_that_succeeds(capsys):
    typed(BOOKING.format(passengers=PASSENGERS) + SUCCESS + CHECK + SHOW)

    said, result = printed(capsys)
    assert said == "Booking confirmed: A1B2C3D4"
    same_shape(json.loads(result), SUCCEEDED)


def test_a_booking_that_fails_at_the_payment(capsys):
    typed(BOOKING.format(passengers=PASSENGERS) + FAILURE + CHECK + SHOW)

    failed, compensated, shown = printed(capsys)
    result = json.loads(shown)
    assert failed == "Failed at: PROCESS_PAYMENT"
    assert "'successful_compensations': 2" in compensated
    same_shape(result, FAILED)
    assert result["compensation_result"]["results"] == [
        {"step": "COMPENSATE_DEDUCT_LOYALTY_POINTS", "success": True},
        {"step": "COMPENSATE_RESERVE_SEAT", "success": True},
    ]


def test_a_payment_that_is_refused_has_the_published_answer(api, capsys):
    api.participants.answers["PROCESS_PAYMENT"] = Rejected("Payment authorization failed")

    typed(BOOKING.format(passengers=PASSENGERS) + SUCCESS + SHOW)

    result = json.loads(printed(capsys)[0])
    expected = json.loads(FAILED)
    fixed = ("success", "failed_step", "error", "steps_completed")
    assert {name: result[name] for name in fixed} == {name: expected[name] for name in fixed}


def test_passengers_that_are_left_out_by_dots_are_refused_in_the_published_shape(capsys):
    typed(BOOKING.format(passengers="[...]") + SUCCESS + CHECK + SHOW)

    failed, _, shown = printed(capsys)
    assert failed == "Failed at: None"
    assert "passengers" in json.loads(shown)["error"]


def test_a_booking_for_a_user(api, capsys):
    User.objects.create(id=1, username="john")

    typed(f"""
from flight.saga_service import booking_saga_service
from django.contrib.auth.models import User

user = User.objects.get(id=1)

result = booking_saga_service.create_booking_saga(
    user=user,
    flight_ids=[123],
    flight_dates=['2024-01-20'],
    passenger_data={PASSENGERS},
    seat_class='Economy',
    total_fare=500.00,
    loyalty_points_to_use=1000,
    payment_method='card'
)
{SHOW}""")

    same_shape(json.loads(printed(capsys)[0]), SUCCEEDED)
    assert api.participants.calls[0].body["user_id"] == 1


def test_the_request_data_starts_a_booking_over_http_too(api):
    answer = curl(
        api,
        """curl -X POST http://localhost:8009/api/sagas/start/ -H 'Content-Type: application/json' -d '{
          "workflow": "flight_booking", "input": {
            "flight_id": 123,
            "user_id": 1,
            "total_fare": 500.00,
            "loyalty_points_to_use": 1000,
            "payment_method": "card",
            "passengers": [{"first_name": "John", "last_name": "Doe", "gender": "male"}]
          }}'""",
    )
    assert (answer.status_code, answer.json()["status"]) == (201, "COMPLETED")


def test_all_tests_are_run_from_the_shell(capsys):
    typed("""
        from flight.saga_tests import run_saga_tests
        results = run_saga_tests()
        print(results["passed"], results["failed"], [test["name"] for test in results["tests"]])
    """)

    assert printed(capsys) == [
        "5 0 ['Success', 'Reserve seat failure', 'Deduct points failure', 'Payment failure', 'Confirm booking failure']"
    ]


def test_all_tests_are_run_by_the_script_which_writes_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["run_saga_tests.py"])
    monkeypatch.setattr("django.setup", lambda: None)  # it is set up, and the log's handlers are the tests'

    runpy.run_path(str(ROOT / "run_saga_tests.py"), run_name="__main__")

    assert printed(capsys)[-1] == "5 of 5 passed, see saga_test_report.json"
    assert json.loads((tmp_path / "saga_test_report.json").read_text())["passed"] == 5


def test_the_test_page_is_there(api):
    answer = curl(api, "curl -H 'Accept: text/html' http://localhost:8009/saga/test")
    assert answer.status_code == 200
