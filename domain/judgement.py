"""What a participant's answer means to a step: a refusal in a 2xx, a success without what later steps need."""

from collections.abc import Mapping
from typing import Any

from domain.definition import Step
from domain.exceptions import TemplateError
from domain.outcomes import Outcome, Rejected, Succeeded, Unknown
from domain.templates import Scope, render


def judge(step: Step, scope: Scope, outcome: Outcome) -> Outcome:
    """The outcome of a do as the step's `reject_when` and `output` read it; what they cannot read is Unknown."""
    if not isinstance(outcome, Succeeded):
        return outcome
    answered = {**scope, "response": outcome.output}
    try:
        if step.reject_when is not None:
            verdict = render(step.reject_when, answered)
            if verdict is True:
                return Rejected(str(render(step.reject_reason, answered)))
            if verdict is not False:
                return Unknown(f"unreadable answer: {step.reject_when} is {verdict!r}, not true or false")
        output = render(step.output, answered)
    except TemplateError as error:
        return Unknown(f"unreadable answer: {error}")
    missing = _missing(step.output, output)
    return Unknown(f"unreadable answer: it has no {missing}") if missing else Succeeded(output)


def judge_inquiry(step: Step, scope: Scope, outcome: Outcome) -> Outcome:
    """Succeeded: the do was done, with its output. Rejected: it was not and will not be. Else still Unknown."""
    if not isinstance(outcome, Succeeded):
        return Unknown(outcome.reason)
    said = outcome.output.get("outcome") if isinstance(outcome.output, Mapping) else None
    if said == "not_done":
        return Rejected("the participant says that it was not done")
    if said != "done":
        return Unknown(f"unreadable answer to the inquiry: outcome is {said!r}")
    judged = judge(step, scope, outcome)
    return judged if isinstance(judged, Succeeded) else Unknown(judged.reason)


def _missing(template: Any, output: Any) -> str | None:
    """The first declared output that came out null; the default output, the whole answer, may be anything."""
    if isinstance(template, Mapping):
        return next((name for name, value in output.items() if value is None), None)
    return template if output is None and template != "${response}" else None
