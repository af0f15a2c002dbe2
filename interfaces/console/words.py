"""What the domain says, in the language of the page: its sentences, its published words, and the faults of an input.

The API, the command line and logs have all of it in English. Names that workflows give (states, steps, services), and
what participants and people gave as reasons, stay as they are. `make messages` finds the sentences where they are made.
"""

import re
from functools import lru_cache

from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext_noop as noted

from domain.exceptions import SagaError
from domain.sentences import Sentence

WORDS = {
    # outcomes
    "succeeded": gettext_lazy("succeeded"),
    "rejected": gettext_lazy("rejected"),
    "unavailable": gettext_lazy("unavailable"),
    "unknown": gettext_lazy("unknown"),
    "done": gettext_lazy("done"),
    "not_done": gettext_lazy("not done"),
    "sent": gettext_lazy("sent"),
    "deadline": gettext_lazy("deadline"),
    "operator": gettext_lazy("operator"),
    "open": gettext_lazy("under way"),
    # what a call is for
    "do": gettext_lazy("do"),
    "undo": gettext_lazy("undo"),
    "inquire": gettext_lazy("inquire"),
    "await": gettext_lazy("await"),
    # what a person does
    "retry": gettext_lazy("retry"),
    "skip": gettext_lazy("skip"),
    "compensate": gettext_lazy("compensate"),
    "pause": gettext_lazy("pause"),
    "resume": gettext_lazy("resume"),
    "resolve": gettext_lazy("resolve"),
    # how much a remark matters
    "warning": gettext_lazy("warning"),
    "info": gettext_lazy("info"),
    # events
    "saga_started": gettext_lazy("saga started"),
    "attempt_scheduled": gettext_lazy("attempt scheduled"),
    "message_published": gettext_lazy("message published"),
    "attempt_postponed": gettext_lazy("attempt postponed"),
    "attempt_failed": gettext_lazy("attempt failed"),
    "step_succeeded": gettext_lazy("step succeeded"),
    "driver_replaced": gettext_lazy("driver replaced"),
    "inquiry_answered": gettext_lazy("inquiry answered"),
    "deadline_passed": gettext_lazy("deadline passed"),
    "step_failed": gettext_lazy("step failed"),
    "compensation_started": gettext_lazy("compensation started"),
    "undo_succeeded": gettext_lazy("undo succeeded"),
    "saga_completed": gettext_lazy("saga completed"),
    "saga_compensated": gettext_lazy("saga compensated"),
    "saga_failed": gettext_lazy("saga failed"),
    "saga_parked": gettext_lazy("saga parked"),
    "retry_requested": gettext_lazy("retry requested"),
    "step_skipped": gettext_lazy("step skipped"),
    "compensation_requested": gettext_lazy("compensation requested"),
    "saga_paused": gettext_lazy("saga paused"),
    "saga_resumed": gettext_lazy("saga resumed"),
    "saga_resolved": gettext_lazy("saga resolved"),
}
"""The published words that are for people too; statuses are not among them: they are the same in every language."""

FAULTS = (
    noted("is required"),
    noted("is shorter than %(value)s character"),
    noted("is shorter than %(value)s characters"),
    noted("is longer than %(value)s character"),
    noted("is longer than %(value)s characters"),
    noted("does not match %(value)s"),
    noted("is less than the minimum of %(value)s"),
    noted("is less than or equal to the minimum of %(value)s"),
    noted("is greater than the maximum of %(value)s"),
    noted("is greater than or equal to the maximum of %(value)s"),
    noted("is not a multiple of %(value)s"),
    noted("has less than %(value)s item"),
    noted("has less than %(value)s items"),
    noted("has more than %(value)s item"),
    noted("has more than %(value)s items"),
    noted("has non-unique elements"),
    noted("has less than %(value)s property"),
    noted("has less than %(value)s properties"),
    noted("has more than %(value)s property"),
    noted("has more than %(value)s properties"),
    noted("is not a %(value)s"),
    noted("is not one of %(value)s"),
    noted("is not one of %(value)s other candidates"),
    noted("is not of type %(value)s"),
    noted("is not of types %(value)s"),
    noted("is not valid under any of the schemas listed in the %(value)s keyword"),
    noted("Additional properties are not allowed (%(value)s was unexpected)"),
    noted("Additional properties are not allowed (%(value)s were unexpected)"),
    noted("%(value)s was expected"),
)
"""What the check of an input against its schema says (jsonschema-rs); what is not among it is shown as it is."""
_PART = r"(?:'[^']*'|" + r'"(?:[^"\\]|\\.)*"|-?\b\d+(?:\.\d+)?\b|\bnull\b|\btrue\b|\bfalse\b)'
_VALUE = re.compile(rf"{_PART}(?:(?:, | or ){_PART})*")

REASONS = (
    noted("the undo of %(step)s was given up; it and what came before are still owed"),
    noted("%(step)s failed after the point of no return: %(reason)s"),
    noted("%(step)s may have been done, and the inquiry was not answered"),
    noted("%(n)s drivers in a row vanished without an answer; their logs say why"),
    noted("the saga's deadline passed"),
    noted("the deadline passed before an answer"),
    noted("the deadline passed"),
    noted("not repeated: the step has failed"),
    noted("no message came in time"),
    noted("its driver vanished"),
    noted("the call cannot be made: %(reason)s"),
    noted("no answer in time"),
    noted("cannot connect: %(reason)s"),
    noted("the connection broke: %(reason)s"),
    noted("the answer broke off: %(reason)s"),
    noted("the participant says that it was not done"),
    noted("unreadable answer to the inquiry: outcome is %(value)s"),
    noted("unreadable answer: it has no %(names)s"),
    noted("unreadable answer: %(reason)s"),
    noted("fault injection: %(step)s was told to fail, its answer was dropped"),
    noted("fault injection: %(step)s was told to fail"),
    noted("It is no longer in this trouble."),
    noted("It has ended: %(status)s."),
    noted("The driver %(driver)s owns this saga, until %(time)s at most. Try again soon."),
    noted("The saga is past its point of no return%(place)s: only forward."),
)
"""The engine's own reasons. They are kept as texts, in English, among those that participants gave."""


def _pattern(template: str) -> re.Pattern[str]:
    """What finds the parts in a text that was made of the template."""
    return re.compile(re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.*)", re.escape(template)), re.DOTALL)


_REASONS = {template: _pattern(template) for template in REASONS}


def translated(text: str) -> str:
    """The sentence in the language of the page; a text that is none, if it has a translation, and else as it is."""
    if not text or text in WORDS:
        return str(WORDS.get(text, ""))
    if not isinstance(text, Sentence):
        return gettext(text)
    return gettext(text.template) % {name: _part(name, part) for name, part in text.parts.items()}


def _part(name: str, part: object) -> object:
    if isinstance(part, Sentence):
        return translated(part)
    return reason(part) if name == "reason" and isinstance(part, str) else part


def reason(text: str) -> str:
    """A reason from a history: in the language of the page if it is the engine's own, else as it was given."""
    template, parts = _recognised(text)
    return gettext(template) % {name: _part(name, part) for name, part in parts.items()} if template else text


@lru_cache(maxsize=1024)
def _recognised(text: str) -> tuple[str, dict[str, str]]:
    """The template that the text was made of, with its parts; none for what is not the engine's own."""
    found = ((template, pattern.fullmatch(text)) for template, pattern in _REASONS.items())
    return next(((template, match.groupdict()) for template, match in found if match), ("", {}))


def told(error: Exception) -> str:
    """What the error says."""
    return translated(error.sentence) if isinstance(error, SagaError) else str(error)


def fault(text: str) -> str:
    """A fault of an input: its numbers and names stay, the words around them are translated."""
    found = _VALUE.search(text)
    if found is None:
        return gettext(text)
    template = f"{text[: found.start()]}%(value)s{text[found.end() :]}"
    if template not in FAULTS:
        return text
    either = gettext("or")
    return gettext(template) % {"value": re.sub(" or (?=[^ ]*$)", f" {either} ", found[0])}
