"""A saga that is to fail on purpose says so in its correlation id: `7c9e...:fail=PROCESS_PAYMENT`.

So every process that may drive it knows, nothing else has to be stored, and whoever meets the id in a log sees that the
failure was ordered. It means something only where fault injection is on (infrastructure/fault_injection.py).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from domain.exceptions import SagaError
from domain.sentences import said

OUTCOMES = {
    "rejected": said("it is refused"),
    "unavailable": said("nobody is there"),
    "unknown": said("its answer is lost"),
}
DEFAULT = "rejected"
OFF = "Fault injection is off here; SAGA_FAULT_INJECTION=True in the orchestrator's environment turns it on."

_SCENARIO = re.compile(
    rf"(?::fail=(?P<step>[A-Za-z][A-Za-z0-9_]*)(?:=(?P<outcome>{'|'.join(OUTCOMES)}))?)?(?P<slow>:slow)?\Z"
)


class FaultInjectionOff(SagaError):
    """Fault injection is off here."""

    code = "fault_injection_off"

    def __init__(self) -> None:
        super().__init__(OFF)


@dataclass(frozen=True, slots=True)
class FaultScenario:
    """What is to go wrong: the do of a step (None: nothing); `slow` gives people time to watch."""

    step: str | None = None
    outcome: str = DEFAULT
    slow: bool = False

    def mark(self) -> str:
        """The end of a correlation id that says this."""
        outcome = "" if self.outcome == DEFAULT else f"={self.outcome}"
        return (f":fail={self.step}{outcome}" if self.step else "") + (":slow" if self.slow else "")


def fault_in_mark(correlation_id: str, steps: Collection[str]) -> str | None:
    """What is wrong with the mark of a saga of these steps, which would be ignored; None if nothing is."""
    told = scenario_of(correlation_id).step
    if ":fail=" not in correlation_id or told in steps:
        return None
    return (
        "must end with :fail=STEP or :fail=STEP=OUTCOME, and perhaps :slow; "
        f"the steps are {', '.join(steps)}, the outcomes {', '.join(OUTCOMES)}"
    )


def scenario_of(correlation_id: str) -> FaultScenario:
    """What is to go wrong in the saga of this correlation id; usually nothing."""
    found = _SCENARIO.search(correlation_id)
    assert found is not None, "it matches the end of any text"
    return FaultScenario(found["step"], found["outcome"] or DEFAULT, found["slow"] is not None)
