"""The documented test scenarios of the booking: one that succeeds, and one that fails at each step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from application.fault_scenario import FaultInjectionOff
from domain.workflows.booking import BOOKING
from interfaces.booking import STEPS, BookingSAGAOrchestrator
from interfaces.examples import EXAMPLE_INPUTS

REPORT = "saga_test_report.json"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A booking that fails at `failing`, or at no step, and what its result must say."""

    name: str
    failing: str | None

    @property
    def failure_scenarios(self) -> dict[str, bool]:
        """Each step, and whether it is to fail."""
        return {name: step == self.failing for name, step in STEPS.items()}

    @property
    def expected(self) -> dict[str, Any]:
        """What the result must hold."""
        names = list(STEPS.values())
        if self.failing is None:
            return {"success": True, "steps_completed": len(names), "total_steps": len(names)}
        before = names[: names.index(self.failing)]
        undone = [{"step": f"COMPENSATE_{step}", "success": True} for step in reversed(before)]
        return {
            "success": False,
            "failed_step": self.failing,
            "steps_completed": len(before),
            "compensation_result": {
                "total_compensations": len(undone),
                "successful_compensations": len(undone),
                "results": undone,
            },
        }


SCENARIOS = (
    Scenario("Success", None),
    Scenario("Reserve seat failure", "RESERVE_SEAT"),
    Scenario("Deduct points failure", "DEDUCT_LOYALTY_POINTS"),
    Scenario("Payment failure", "PROCESS_PAYMENT"),
    Scenario("Confirm booking failure", "CONFIRM_BOOKING"),
)


def run_saga_tests(
    booking_data: Mapping[str, Any] | None = None, done: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Run every scenario against the participants there are: the report. Raises FaultInjectionOff.

    `done` is told the name of each when it is over.
    """
    if not settings.SAGA_ORCHESTRATOR_CONFIG["FAULT_INJECTION"]:
        raise FaultInjectionOff  # before the first scenario, which needs none, books
    given = booking_data or EXAMPLE_INPUTS[BOOKING.name]
    started = datetime.now(UTC)
    tests = []
    for scenario in SCENARIOS:
        tests.append(_run(scenario, given))
        done(tests[-1]["name"])
    passed = sum(test["passed"] for test in tests)
    return {
        "workflow": BOOKING.name,
        "started_at": started.isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "total_tests": len(tests),
        "passed": passed,
        "failed": len(tests) - passed,
        "tests": tests,
    }


def _run(scenario: Scenario, given: Mapping[str, Any]) -> dict[str, Any]:
    result = BookingSAGAOrchestrator().start_booking_saga(given, scenario.failure_scenarios)
    faults = [
        f"{name}: expected {wanted!r}, found {result.get(name)!r}"
        for name, wanted in scenario.expected.items()
        if result.get(name) != wanted
    ]
    if scenario.failing is None and not result.get("booking_reference"):
        faults.append("booking_reference: there is none")
    return {
        "name": scenario.name,
        "passed": not faults,
        "faults": faults,
        "failure_scenarios": scenario.failure_scenarios,
        "result": result,
    }
