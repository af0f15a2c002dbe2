"""What makes a definition wrong: every fault with its path and what to do, found before anything runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from domain.exceptions import TemplateError
from domain.templates import Expression, is_whole, parse

if TYPE_CHECKING:
    from domain.definition import Await, Publish, Request, RetryPolicy, SagaDefinition, Step

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
WORKFLOW_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
STEP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
SERVICE_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_TOPIC_PART = "[A-Za-z0-9][A-Za-z0-9._-]*"
TOPIC_NAME = re.compile(rf"(?=.{{1,200}}\Z)(?:(?:(?:non-)?persistent://)?{_TOPIC_PART}/{_TOPIC_PART}/)?{_TOPIC_PART}")
TOPIC_SHAPE = "name, tenant/namespace/name or persistent://tenant/namespace/name, of letters, digits and ._-"
STORED_TOPIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,200}")
"""What earlier releases took for a topic: a version that has one is still read, since its sagas are still run."""
STATE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
PATH_TEXT = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;:=@%-]*")
LONGEST = 366 * 86_400
"""Seconds of any time in a definition: a year. More is a mistake, and leaves the calendar in the end."""
LAST_VERSION = 2**31 - 1
"""The largest number that the database's column holds."""
STEEPEST = 100
"""The largest growth of a retry's wait."""
LONGEST_NAME = 100
"""Characters of a name that a definition gives to, or hides of, its values."""
MOST_BUSINESS_IDS = 10
SAGA_FIELDS = frozenset({"id", "workflow", "correlation_id", "do_key"})


def find_faults(definition: "SagaDefinition") -> list[str]:
    """Every fault of the definition, each as `path: what is wrong and what to do`; an empty list when it is sound."""
    faults = [*_whole_faults(definition), *_state_faults(definition)]
    known: set[str] = set()
    for index, step in enumerate(definition.steps):
        faults += [f"steps[{index}] ({step.name}){fault}" for fault in _step_faults(step, known)]
        if step.name in known:
            faults.append(f"steps[{index}].name: {step.name!r} is used twice; give each step its own name")
        known.add(step.name)
    return [*faults, *_business_id_faults(definition.business_ids, known)]


def topic_faults(definition: "SagaDefinition") -> list[str]:
    """The topics that no broker could have, as `path: what is wrong`; a new version may have none of them."""
    named = definition.topics().items()
    return [f"{place}: {topic!r} must be {TOPIC_SHAPE}" for place, topic in named if not TOPIC_NAME.fullmatch(topic)]


def _whole_faults(definition: "SagaDefinition") -> Iterator[str]:
    if not WORKFLOW_NAME.fullmatch(definition.name):
        yield f"name: {definition.name!r} must be lower case letters, digits and _, beginning with a letter"
    if not 1 <= definition.version <= LAST_VERSION:
        yield f"version: must be from 1 to {LAST_VERSION}"
    if not definition.steps:
        yield "steps: there must be at least one"
    if definition.deadline is not None:
        yield from _time_faults(definition.deadline, "deadline")
    if definition.input_schema.get("type") != "object":
        yield "input_schema.type: must be 'object'"
    yield from _value_faults(definition.input_schema, "input_schema", None)
    if not isinstance(definition.masked, tuple):
        yield "masked: must be a list of names"
        return
    for index, name in enumerate(definition.masked):
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME:
            yield f"masked[{index}]: must be a field's name, of 1 to {LONGEST_NAME} characters"


def _business_id_faults(templates: Mapping[str, str], steps: set[str]) -> Iterator[str]:
    """What is wrong with the ids by which a saga is looked for; they may read whatever any step gave."""
    known = frozenset({"input", "saga", *(f"steps.{name}" for name in steps)})
    scope = _Scope(known, saga_fields=SAGA_FIELDS - {"do_key"})
    if len(templates) > MOST_BUSINESS_IDS:
        yield f"business_ids: must be at most {MOST_BUSINESS_IDS}, each is looked up by an index"
    for name, template in templates.items():
        where = f"business_ids.{name}"
        if not isinstance(name, str) or not STEP_NAME.fullmatch(name):
            yield f"{where}: {name!r} must be letters, digits and _, beginning with a letter"
        if not isinstance(template, str):
            yield f"{where}: must be a text"
            continue
        faults = list(scope.faults(template, where))
        if not faults and not any(isinstance(part, Expression) for part in parse(template)):
            yield f"{where}: must have a ${{...}}, or all sagas would have the same"
        yield from faults


def _state_faults(definition: "SagaDefinition") -> Iterator[str]:
    """States that would lie: an end that a live saga shows too, a failure that looks like progress, a way back."""
    ends = {
        "completed_state": definition.completed_state,
        "compensated_state": definition.compensated_state,
        "failed_state": definition.failed_state,
    }
    live = {"initial_state": definition.initial_state, "compensating_state": definition.compensating_state}
    for name, word in {**ends, **live}.items():
        if not STATE_NAME.fullmatch(word):
            yield f"{name}: {word!r} is not a state's name (letters, digits and _)"
    for name in ("compensated_state", "failed_state"):
        if ends[name] == definition.completed_state:
            yield f"{name}: {ends[name]!r} also means completed; an undone saga needs another word"
    for name, word in live.items():
        if word in ends.values():
            yield f"{name}: {word!r} is impossible, it also means an end"
    if definition.initial_state == definition.compensating_state:
        yield f"compensating_state: {definition.initial_state!r} is impossible, it is the initial state"
    reserved = {*ends.values(), definition.compensating_state}
    yield from _step_state_faults(definition, reserved)


def _step_state_faults(definition: "SagaDefinition", reserved: set[str]) -> Iterator[str]:
    path = [definition.initial_state]
    failures = {step.failed_state for step in definition.steps if step.failed_state}
    if definition.initial_state in failures:
        yield f"initial_state: {definition.initial_state!r} is impossible, it is also a failed state"
    for index, step in enumerate(definition.steps):
        for name in ("running_state", "done_state", "failed_state"):
            word = getattr(step, name)
            if word is None:
                continue
            faults = [*_word_faults(word, reserved)]
            if name != "failed_state":
                faults = [*faults, *_progress_faults(word, failures, path)]
            yield from (f"steps[{index}].{name}: {word!r} {fault}" for fault in faults)


def _word_faults(word: str, reserved: set[str]) -> Iterator[str]:
    if not STATE_NAME.fullmatch(word):
        yield "is not a state's name (letters, digits and _)"
    if word in reserved:
        yield "is impossible for a live saga, it names a stage of the whole"


def _progress_faults(word: str, failures: set[str], path: list[str]) -> Iterator[str]:
    """What is wrong with a state on the way forward; `path` holds the states entered so far, and gains this one."""
    if word in failures:
        yield "is impossible, it is also a failed state"
    if word in path[:-1]:
        yield "is entered twice; the saga cannot go back to a state that it has left"
    if word != path[-1]:
        path.append(word)


def _step_faults(step: "Step", earlier: set[str]) -> Iterator[str]:
    if not STEP_NAME.fullmatch(step.name):
        yield f".name: {step.name!r} must be letters, digits and _, beginning with a letter"
    yield from _kind_faults(step)
    yield from _consequence_faults(step)
    if step.concurrency < 1:
        yield ".concurrency: must be 1 or more"
    if step.concurrency > 1 and not step.foreach:
        yield ".concurrency: only a foreach step has items to do at once"
    yield from _retry_faults(step.retry, ".retry")
    yield from _retry_faults(step.undo_retry, ".undo_retry")
    yield from _template_faults(step, earlier)


def _kind_faults(step: "Step") -> Iterator[str]:
    """What does the step: a call, or a message and perhaps its answer, or only something to wait for."""
    if step.action and (step.publish or step.awaits):
        yield ": is either a call (action) or a message (publish, awaits); drop one"
    if not (step.action or step.publish or step.awaits):
        yield ": does nothing; give it an action, a publish or an awaits"
    if step.compensation and step.undo_publish:
        yield ": is undone either by a call or by a message; drop compensation or undo_publish"
    if step.publish and not step.awaits and step.inquiry:
        yield ": a message that nobody answers is never unknown; drop inquiry"
    if step.awaits and step.foreach:
        yield ": a step over a list cannot wait for messages; drop foreach or awaits"


def _consequence_faults(step: "Step") -> Iterator[str]:
    if step.awaits and not step.publish and not step.action:
        if step.undoable or step.pivot:
            yield ": waiting leaves nothing to undo; drop compensation and pivot"
        return
    if not (step.safe or step.pivot or step.undoable):
        yield ": has no undo; give it a compensation, or declare it safe or pivot"
    if step.safe and (step.undoable or step.pivot):
        yield ": a safe step has nothing to undo and is no point of no return; drop safe, or compensation and pivot"
    if step.pivot and step.undoable:
        yield ": a pivot is never undone; drop pivot or compensation"
    if step.safe and step.inquiry:
        yield ": nobody needs to inquire after a safe step; drop inquiry"


def _retry_faults(policy: "RetryPolicy", where: str) -> Iterator[str]:
    if policy.max_retries is not None and policy.max_retries < 0:
        yield f"{where}.max_retries: must be 0 or more"
    yield from _time_faults(policy.base, f"{where}.base")
    yield from _time_faults(policy.cap, f"{where}.cap")
    if policy.cap < policy.base:
        yield f"{where}.cap: must be at least base"
    if not 1 <= policy.factor <= STEEPEST:
        yield f"{where}.factor: must be from 1 to {STEEPEST}"


def _time_faults(seconds: float, where: str) -> Iterator[str]:
    if not 0 < seconds <= LONGEST:
        yield f"{where}: must be more than 0 and at most {LONGEST} seconds"


def _template_faults(step: "Step", earlier: set[str]) -> Iterator[str]:
    before = frozenset({"input", "saga", *(f"steps.{name}" for name in earlier)})
    known = before | ({"item"} if step.foreach is not None else set())
    yield from _choice_faults(step, _Scope(before))
    # Undo of an unknown outcome has no answer to read from, unless an inquiry can supply it.
    undoing = _Scope(known | ({f"steps.{step.name}"} if step.inquiry else set()), own_step=step.name)
    scopes = {"action": _Scope(known), "inquiry": _Scope(known), "compensation": undoing}
    for name, scope in scopes.items():
        if request := getattr(step, name):
            yield from _request_faults(request, f".{name}", scope)
    for name, scope in {"publish": _Scope(known), "undo_publish": undoing}.items():
        if message := getattr(step, name):
            yield from _publish_faults(message, f".{name}", scope)
    if step.awaits:
        yield from _await_faults(step.awaits)
    answered = _Scope(known | {"response"})
    for name in ("reject_when", "reject_reason", "output"):
        yield from _value_faults(getattr(step, name), f".{name}", answered)
    if step.reject_when is not None and not _whole(step.reject_when):
        yield ".reject_when: must be one whole ${...} that gives true or false"


def _choice_faults(step: "Step", scope: "_Scope") -> Iterator[str]:
    """What is known before the step: whether it is done, and for what."""
    if step.foreach is not None:
        if not _whole(step.foreach):
            yield ".foreach: must be one whole ${...} that gives a list"
        yield from _value_faults(step.foreach, ".foreach", scope)
    if step.when is not None:
        if not _whole(step.when):
            yield ".when: must be one whole ${...} that gives true or false"
        yield from _value_faults(step.when, ".when", scope)


def _whole(template: object) -> bool:
    """Whether the template is one whole `${...}`; a template that cannot be parsed is reported elsewhere."""
    try:
        return is_whole(template)
    except TemplateError:
        return True


def _publish_faults(message: "Publish", where: str, scope: "_Scope") -> Iterator[str]:
    if not STORED_TOPIC_NAME.fullmatch(message.topic):
        yield f"{where}.topic: {message.topic!r} must be {TOPIC_SHAPE}"
    if not isinstance(message.body, Mapping):
        yield f"{where}.body: must be an object"
    yield from _value_faults(message.body, f"{where}.body", scope)


def _await_faults(awaits: "Await") -> Iterator[str]:
    if awaits.topic is not None and not STORED_TOPIC_NAME.fullmatch(awaits.topic):
        yield f".awaits.topic: {awaits.topic!r} must be {TOPIC_SHAPE}"
    if not awaits.types or not all(STEP_NAME.fullmatch(kind) for kind in awaits.types):
        yield ".awaits.types: must be one or more names: letters, digits and _, beginning with a letter"
    yield from _time_faults(awaits.timeout, ".awaits.timeout")


def _request_faults(request: "Request", where: str, scope: "_Scope") -> Iterator[str]:
    if request.method not in METHODS:
        yield f"{where}.method: {request.method!r} is not one of {', '.join(sorted(METHODS))}"
    if not SERVICE_NAME.fullmatch(request.service):
        yield f"{where}.service: {request.service!r} must be lower case letters, digits and -"
    yield from _path_faults(request.path, f"{where}.path")
    yield from _time_faults(request.timeout, f"{where}.timeout")
    for name in ("path", "query", "body"):
        yield from _value_faults(getattr(request, name), f"{where}.{name}", scope)


def _path_faults(path: str, where: str) -> Iterator[str]:
    """What is wrong with the fixed part of a path; a value in it is always quoted, and is never a dot segment."""
    try:
        fixed = "".join("x" if isinstance(part, Expression) else part for part in parse(path))
    except TemplateError:
        return  # reported with the other templates
    if not fixed.startswith("/"):
        yield f"{where}: must begin with /"
    if "?" in fixed or "#" in fixed:
        yield f"{where}: put what follows ? into query"
    elif not PATH_TEXT.fullmatch(fixed):
        yield f"{where}: {path!r} has characters that no path has; percent-encode them"
    if any(unquote(segment) in {".", ".."} for segment in fixed.split("/")):
        yield f"{where}: must not have . or .. as a segment, it would reach another route"


@dataclass(frozen=True, slots=True)
class _Scope:
    """What templates may read in one place. `own_step` is set where its own answer might be expected."""

    known: frozenset[str]
    own_step: str = ""
    saga_fields: frozenset[str] = SAGA_FIELDS

    def faults(self, text: str, where: str) -> Iterator[str]:
        """What is wrong with the expressions in this text."""
        try:
            found = [part for part in parse(text) if isinstance(part, Expression)]
        except TemplateError as error:
            yield f"{where}: {error}"
            return
        for expression in found:
            for path in sorted(expression.reads):
                fault = self._path_fault(path)
                if fault:
                    yield f"{where}: ${{{expression.text}}} {fault}"

    def _path_fault(self, path: tuple[str, ...]) -> str | None:
        root, name = path[0], path[1] if len(path) > 1 else None
        if root == "steps":
            return None if f"steps.{name}" in self.known else self._step_fault(name)
        if root not in self.known:
            if self.own_step and root == "response":
                return f"{_NO_OUTPUT}; use its input and ${{saga.do_key}}"
            return f"reads {root!r}, which is not known here (known: {', '.join(sorted(self.known))})"
        if root == "saga" and name not in self.saga_fields:
            return f"reads saga.{name}; there is {', '.join(f'saga.{known}' for known in sorted(self.saga_fields))}"
        return None

    def _step_fault(self, name: str | None) -> str:
        if self.own_step and name == self.own_step:
            return f"{_NO_OUTPUT}; use its input, or declare an inquiry"
        if name is None:
            return "reads all steps; name one of the earlier ones"
        return f"reads the output of {name!r}, which is not an earlier step"


_NO_OUTPUT = "needs the step's output, which an unknown outcome does not have"


def _value_faults(value: Any, where: str, scope: _Scope | None) -> Iterator[str]:
    """What is not JSON, and what is wrong with the templates in it; without a scope, texts are only texts."""
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                yield f"{where}: the key {key!r} is not text"
            yield from _value_faults(part, f"{where}.{key}", scope)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _value_faults(part, f"{where}[{index}]", scope)
    elif isinstance(value, str):
        yield from scope.faults(value, where) if scope else ()
    elif isinstance(value, float) and not isfinite(value):
        yield f"{where}: {value} is not JSON"
    elif not (value is None or isinstance(value, int | float)):
        yield f"{where}: a {type(value).__name__} is not JSON; a definition holds no code"
