"""What a participant's answer means to a step: a refusal in a 2xx, a success without what later steps need."""

from collections.abc import Mapping
from reprlib import repr as briefly
from typing import Any

from domain.definition import REFUSED, WHOLE_ANSWER, Step
from domain.exceptions import TemplateError
from domain.outcomes import Outcome, Rejected, Succeeded, Unknown
from domain.templates import Scope, render

LONGEST_REASON = 2000
"""Characters of a refusal in the step's words: it is stored several times, and for people."""


def judge(step: Step, scope: Scope, outcome: Outcome) -> Outcome:
    """The outcome of a do as the step's `reject_when` and `output` read it; what they cannot read is Unknown."""
    if not isinstance(outcome, Succeeded):
        return outcome
    answered = {**scope, "response": outcome.output}
    try:
        verdict = step.reject_when is not None and render(step.reject_when, answered)
    except TemplateError as error:
        return Unknown(f"unreadable answer: {error}")
    if verdict is True:
        return Rejected(_reason(step, answered))
    if verdict is not False:
        return Unknown(f"unreadable answer: {step.reject_when} is {briefly(verdict)}, not true or false")
    return _read_output(step, answered)


def judge_inquiry(step: Step, scope: Scope, outcome: Outcome) -> Outcome:
    """Succeeded: the do was done, with its output. Rejected: it was not and will not be. Else still Unknown."""
    if not isinstance(outcome, Succeeded):
        return Unknown(outcome.reason)
    said = outcome.output.get("outcome") if isinstance(outcome.output, Mapping) else None
    if said == "not_done":
        return Rejected("the participant says that it was not done")
    if said != "done":
        return Unknown(f"unreadable answer to the inquiry: outcome is {briefly(said)}")
    return _read_output(step, {**scope, "response": outcome.output})


def _read_output(step: Step, answered: Scope) -> Succeeded | Unknown:
    try:
        output = render(step.output, answered)
    except TemplateError as error:
        return Unknown(f"unreadable answer: {error}")
    missing = None if step.output == WHOLE_ANSWER else _missing(step.output, output)
    return Unknown(f"unreadable answer: it has no {missing}") if missing else Succeeded(output)


def _reason(step: Step, answered: Scope) -> str:
    """The refusal in the step's words. It is certain even where the answer lacks what those need."""
    try:
        reason = render(step.reject_reason, answered)
    except TemplateError:
        reason = None
    return REFUSED if reason is None else str(reason)[:LONGEST_REASON]


def _missing(template: Any, output: Any, place: str = "") -> str | None:
    """Where a declared output came out null."""
    if isinstance(template, dict):
        parts = ((f"{place}.{name}" if place else name, name) for name in template)
    elif isinstance(template, list | tuple):
        parts = ((f"{place}[{index}]", index) for index in range(len(template)))
    else:
        return place or template if output is None and template is not None else None
    found = (_missing(template[key], output[key], where) for where, key in parts)
    return next((where for where in found if where), None)
