"""What is allowed in a definition and yet probably not meant: findings, each with its place and why it matters.

A fault (definition_faults.py) makes a definition unsafe, and is refused. A finding makes it surprising: it is shown to
whoever publishes or reads the definition, and stops nobody.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from domain.definition import Publish, Request, SagaDefinition, Step
from domain.masking import is_masked
from domain.sentences import Sentence, said
from domain.templates import Expression, parse

GATEWAY_READ = 10.0
"""Seconds after which the gateway gives a participant up (`read_timeout` in kong/kong.yml)."""
_UNREAD = said(
    "is read by no step, yet an answer without it turns the saga back; leave it out unless people look at it"
)
NO_BROKER = said(
    "no message broker is configured, so nobody gets or sends this message: set BROKER_URL for the orchestrator and "
    "its workers (an awaits without a topic takes the API's signals)"
)
_CHANGES = frozenset({"PUT", "PATCH", "DELETE"})
_SECRET = re.compile(r"(?i)(pass(word|phrase)?|secret|api_?key|token|credentials?|authorization)")
_SHAPED_ELSEWHERE = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"})
"""With one of these a schema's `properties` are not all that an input may have."""


class Severity(StrEnum):
    """How much a finding matters."""

    WARNING = "warning"
    """It will go wrong, or never does what it says."""
    INFO = "info"
    """It may well be meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to think about; `path` as in a fault: `steps[1].action.timeout`."""

    severity: Severity
    path: str
    message: Sentence


@dataclass(frozen=True, slots=True)
class Limits:
    """What the installation decides, in seconds. `direct`: the services that are not called through the gateway."""

    deadline: float = 30.0
    max_retries: int = 3
    longest_wait: float = 30.0
    """A workflow with a call that may take this long is never waited for."""
    gateway_read: float = GATEWAY_READ
    direct: Collection[str] = ()
    broker: bool = True
    """Whether messages can be sent and heard."""


def lint(definition: SagaDefinition, limits: Limits) -> list[Finding]:
    """What may not be meant, in the order of the definition."""
    findings = [*_time_findings(definition, limits), *_input_findings(definition), *_masked_findings(definition)]
    findings += _business_id_findings(definition)
    if not limits.broker:
        findings += [_info(place, NO_BROKER) for place in definition.topics()]
    for index, step in enumerate(definition.steps):
        where = f"steps[{index}]"
        pivot = next((before.name for before in definition.steps[:index] if before.pivot), None)
        findings += _step_findings(step, where, pivot)
        findings += _retry_findings(step, where, None if pivot else _deadline(definition, limits), limits.max_retries)
        findings += _request_findings(step, where, limits)
        findings += _output_findings(definition, index)
    return findings


def _warning(path: str, message: Sentence) -> Finding:
    return Finding(Severity.WARNING, path, message)


def _info(path: str, message: Sentence) -> Finding:
    return Finding(Severity.INFO, path, message)


# --- time -------------------------------------------------------------------------------------------------------------


def _time_findings(definition: SagaDefinition, limits: Limits) -> Iterator[Finding]:
    """What all steps may take together, against the deadline and against how long the gateway lets a client wait."""
    deadline, bounded = _deadline(definition, limits), _until_pivot(definition)
    once = sum(_patience(step) for step in bounded)
    whole = sum(_at_most(step, limits.max_retries) for step in bounded)
    if once > deadline:
        yield _warning(
            "deadline",
            said(
                "is %(deadline)g s, yet the steps may take %(once)g s without a single repetition: a saga whose "
                "participants are slow but well is undone; shorten timeouts, or lengthen the deadline",
                deadline=deadline,
                once=once,
            ),
        )
    elif whole > deadline:
        yield _info(
            "deadline",
            said(
                "is %(deadline)g s, and the steps may take %(whole).0f s with all repetitions and the longest waits "
                "between them (%(once)g s without any): where several participants fail for long, it is the deadline "
                "that ends the attempts, not their number; and a client may be answered 202 before",
                deadline=deadline,
                whole=whole,
                once=once,
            ),
        )
    yield from _wait_findings(definition, limits, bounded=whole <= deadline)


def _wait_findings(definition: SagaDefinition, limits: Limits, *, bounded: bool) -> Iterator[Finding]:
    """The gateway gives a start up as well, so that it is answered before; said once, if the deadline's does not."""
    longest = definition.longest_call()
    if longest >= limits.longest_wait:
        yield _info(
            "steps",
            said(
                "have a call of %(longest)g s: a start is answered 202 at once, since the gateway does not wait that "
                "long",
                longest=longest,
            ),
        )
        return
    waited = limits.longest_wait - longest
    whole = sum(_at_most(step, limits.max_retries) for step in definition.steps)
    if bounded and whole > waited:
        yield _info(
            "steps",
            said(
                "may take %(whole).0f s with all repetitions and the longest waits between them: a start that takes "
                "more than %(waited)g s is answered 202, before the gateway gives it up",
                whole=whole,
                waited=waited,
            ),
        )


def _retry_findings(step: Step, where: str, deadline: float | None, max_retries: int) -> Iterator[Finding]:
    """`deadline` is None where there is none: after the pivot."""
    attempts, patience, longest = _attempts(step, max_retries), _patience(step), _at_most(step, max_retries)
    if deadline is not None and attempts > 1 and longest > deadline:
        yield _warning(
            f"{where}.retry",
            said(
                "gives %(attempts)s attempts of %(patience)g s, up to %(longest).0f s with the waits between them; the "
                "deadline of %(deadline)g s comes first",
                attempts=attempts,
                patience=patience,
                longest=longest,
                deadline=deadline,
            ),
        )
    if step.compensation and step.undo_retry.max_retries == 0:
        text = said("tries an undo once: any failure of it parks the saga for a person")
        yield _warning(f"{where}.undo_retry", text)


def _patience(step: Step) -> float:
    """Seconds that one attempt may take."""
    return step.action.timeout if step.action else step.awaits.timeout if step.awaits else 0.0


def _attempts(step: Step, max_retries: int) -> int:
    """How often it is tried at most; a message is not sent again because its answer does not come."""
    if step.action is None:
        return 1
    return 1 + (max_retries if step.retry.max_retries is None else step.retry.max_retries)


def _at_most(step: Step, max_retries: int) -> float:
    """Seconds of all its attempts and of the longest waits between them; of one item where it is done for a list."""
    attempts = _attempts(step, max_retries)
    waits = sum(step.retry.ceiling(attempt) for attempt in range(1, min(attempts, 1000)))
    return attempts * _patience(step) + waits


def _until_pivot(definition: SagaDefinition) -> Sequence[Step]:
    """The steps that the deadline bounds: after a point of no return there is none."""
    pivots = (index for index, step in enumerate(definition.steps) if step.pivot)
    return definition.steps[: next(pivots, len(definition.steps)) + 1]


def _deadline(definition: SagaDefinition, limits: Limits) -> float:
    return limits.deadline if definition.deadline is None else definition.deadline


# --- steps and their requests -----------------------------------------------------------------------------------------


def _step_findings(step: Step, where: str, pivot: str | None) -> Iterator[Finding]:
    method, undo = step.action.method if step.action else "", "compensation" if step.compensation else "undo_publish"
    if step.safe and method in _CHANGES:
        yield _warning(f"{where}.safe", said("is declared of a %(method)s, which is never undone then", method=method))
    if step.safe and method == "POST":
        text = said("is declared of a POST: it is never undone; right for a quote or a search")
        yield _info(f"{where}.safe", text)
    if step.undoable and method == "GET":
        yield _info(f"{where}.{undo}", said("undoes a GET; a step that only reads is `safe`"))
    if pivot and step.undoable:
        text = said("never happens: after the pivot %(pivot)r nothing is undone", pivot=pivot)
        yield _warning(f"{where}.{undo}", text)
    if pivot and step.reject_when:
        yield _warning(
            f"{where}.reject_when",
            said(
                "parks the saga for a person when it is true: there is no way back after the pivot %(pivot)r; ask "
                "before it",
                pivot=pivot,
            ),
        )
    if step.undoable and not _names_its_do(step):
        yield _warning(
            f"{where}.{undo}",
            said(
                "does not say which call it undoes: a participant that the do has not reached yet cannot know what to "
                'refuse later; send "undo_of": "${saga.do_key}"'
            ),
        )


def _names_its_do(step: Step) -> bool:
    undo = (step.compensation or step.undo_publish, "")
    reads = {path for _, each, _ in _templates(*undo) for path in each.reads}
    own = any(path[:2] == ("steps", step.name) for path in reads)  # what its inquiry found out
    return own or bool(reads & {("saga", "do_key"), ("saga", "id"), ("saga",)})


def _request_findings(step: Step, where: str, limits: Limits) -> Iterator[Finding]:
    for name, request in _sendings(step):
        place = f"{where}.{name}"
        if isinstance(request, Request) and _outlasts_the_gateway(request, limits):
            yield _warning(
                f"{place}.timeout",
                said(
                    "is %(timeout)g s, but the gateway gives the participant up after %(limit)g s",
                    timeout=request.timeout,
                    limit=limits.gateway_read,
                ),
            )
        for path in _secrets(request.body, f"{place}.body"):
            yield _warning(path, said("looks like a secret, and everybody who may read workflows reads it"))


def _outlasts_the_gateway(request: Request, limits: Limits) -> bool:
    return request.timeout > limits.gateway_read and request.service not in limits.direct


def _secrets(value: Any, path: str) -> Iterator[str]:
    """Where a text without a template stands under a name that secrets have."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            where = f"{path}.{name}"
            if isinstance(part, str) and part and _SECRET.fullmatch(name) and not _expressions(part):
                yield where
            yield from _secrets(part, where)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _secrets(part, f"{path}[{index}]")


# --- what is read, and what is there to read --------------------------------------------------------------------------


def _input_findings(definition: SagaDefinition) -> Iterator[Finding]:
    schema = definition.input_schema
    known = schema.get("properties")
    if not isinstance(known, Mapping) or _SHAPED_ELSEWHERE & set(schema):
        return
    needed = schema.get("required")
    required = needed if isinstance(needed, list) else []
    read: set[str] = set()
    for path, expression, alone in _all_templates(definition):
        for root, *rest in expression.reads:
            if root != "input":
                continue
            if not rest:
                read |= set(known)
                continue
            read.add(rest[0])
            if rest[0] not in known:
                yield _warning(path, said("reads input.%(name)s, which the input's schema does not have", name=rest[0]))
            elif rest[0] not in required and not alone and expression.text == f"input.{'.'.join(rest)}":
                text = said("needs input.%(name)s, which may be left out: there is no text for null", name=rest[0])
                yield _warning(path, text)
    for name in known:
        if name not in read:
            yield _info(f"input_schema.properties.{name}", said("is asked for, and nothing reads it"))


def _masked_findings(definition: SagaDefinition) -> Iterator[Finding]:
    """Names to mask that change nothing: a slip in one would show to people what it should hide."""
    known = {name.casefold() for name in _names(definition)}
    for index, name in enumerate(definition.masked):
        if is_masked(name):
            yield _info(f"masked[{index}]", said("%(name)r is masked in every workflow", name=name))
        elif name.casefold() not in known:
            text = said("nothing in the definition is called %(name)r; is it spelled right?", name=name)
            yield _info(f"masked[{index}]", text)


def _business_id_findings(definition: SagaDefinition) -> Iterator[Finding]:
    """Ids for people to look for and to see, that are made of what they may not see."""
    own = frozenset(name.casefold() for name in definition.masked)
    for name, template in definition.business_ids.items():
        read = (part for each in _expressions(template) for path in each.reads for part in path)
        hidden = next((part for part in (name, *read) if is_masked(part, own)), None)
        if hidden:
            text = said("is stored and shown to be looked for by, yet %(name)r is masked", name=hidden)
            yield _warning(f"business_ids.{name}", text)


def _names(definition: SagaDefinition) -> Iterator[str]:
    """The names that it has for values: of the input's schema, in what it sends and keeps, and of what it reads."""
    yield from _keys(definition.input_schema)
    for step in definition.steps:
        for part in (step.output, *(request.query for request in step.requests)):
            yield from _keys(part)
        yield from _keys([sending.body for _, sending in _sendings(step)])
    for _, expression, _ in _all_templates(definition):
        yield from (name for path in expression.reads for name in path)


def _keys(value: Any) -> Iterator[str]:
    """Every name in a JSON value."""
    if isinstance(value, Mapping):
        yield from value
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _keys(part)


def _output_findings(definition: SagaDefinition, index: int) -> Iterator[Finding]:
    """Reads of what the step's output does not have, which are null; and what it must have though nothing reads it."""
    step = definition.steps[index]
    known = step.output if isinstance(step.output, Mapping) else None
    reads = [
        (path, reading[2:])
        for path, expression, _ in _all_templates(definition)
        for reading in expression.reads
        if reading[:2] == ("steps", step.name)
    ]
    for path, rest in reads:
        if rest and step.foreach:
            text = said("is null: %(step)r is a foreach step, whose output is a list", step=step.name)
            yield _warning(path, text)
        elif rest and known is not None and rest[0] not in known:
            text = said("is null: the output of %(step)r has no %(name)r", step=step.name, name=rest[0])
            yield _warning(path, text)
    used = {rest[0] for _, rest in reads if rest}
    if index < len(definition.steps) - 1 and all(rest and not step.foreach for _, rest in reads):
        for name in sorted((known or {}).keys() - used):
            if _expressions(step.output[name]):
                yield _info(f"steps[{index}].output.{name}", _UNREAD)


def _all_templates(definition: SagaDefinition) -> Iterator[tuple[str, Expression, bool]]:
    """Every expression with its place, and whether it may be null there."""
    for path, expression, _ in _placed(definition.business_ids, "business_ids"):
        yield path, expression, True
    for index, step in enumerate(definition.steps):
        where = f"steps[{index}]"
        for name in ("when", "foreach", "reject_when", "reject_reason", "output"):
            for path, expression, alone in _placed(getattr(step, name), f"{where}.{name}"):
                yield path, expression, alone or name == "reject_reason"
        for name, sending in _sendings(step):
            for path, expression, alone in _templates(sending, f"{where}.{name}"):
                yield path, expression, alone or step.when is not None


def _templates(sending: Request | Publish | None, where: str) -> Iterator[tuple[str, Expression, bool]]:
    for part in ("path", "query", "body"):
        for path, each, alone in _placed(getattr(sending, part, None), f"{where}.{part}"):
            yield path, each, alone and part != "path"


def _placed(value: Any, path: str) -> Iterator[tuple[str, Expression, bool]]:
    """The expressions in a template, each with its place and whether it stands alone in its text."""
    if isinstance(value, str):
        yield from ((path, each, len(parse(value)) == 1) for each in _expressions(value))
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _placed(part, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _placed(part, f"{path}[{index}]")


def _expressions(value: Any) -> list[Expression]:
    if not isinstance(value, str):
        return [each for _, each, _ in _placed(value, "")]
    return [part for part in parse(value) if isinstance(part, Expression)]


def _sendings(step: Step) -> Iterator[tuple[str, Request | Publish]]:
    """The step's calls and messages, each with its field."""
    for name in ("action", "publish", "inquiry", "compensation", "undo_publish"):
        sending = getattr(step, name)
        if sending:
            yield name, sending
