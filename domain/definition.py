"""A workflow as data: frozen, JSON-serialisable, complete. Nothing in it is code; what varies is a template.

A definition is checked when it is built and refused with every fault named, so what runs is known to be sound:
each step is safe, or can be undone from what is known before it is called, or is declared a point of no return.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from domain.definition_faults import find_faults
from domain.events import SagaStatus
from domain.exceptions import DefinitionInvalid
from domain.templates import Expression, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a call is repeated: full jitter under `base * factor ** n`, at most `cap` (seconds)."""

    max_retries: int | None = None
    """Repetitions after the first attempt; None takes the engine's MAX_RETRIES."""
    base: float = 0.2
    factor: float = 2.0
    cap: float = 10.0

    def ceiling(self, attempt: int) -> float:
        """The longest wait, in seconds, before the attempt that follows number `attempt`."""
        exponent = min(attempt - 1, 64)  # beyond this only the cap speaks, and a float would overflow
        return float(min(self.cap, self.base * self.factor**exponent))


REFUSED = "refused by the participant"
WHOLE_ANSWER = "${response}"

UNDO_RETRIES = RetryPolicy(max_retries=12, base=0.5, cap=60.0)
"""An undo is worth waiting for, and parking it wakes a person: three minutes on average, since full jitter takes half
of each wait's ceiling, and six at most; beside what the calls themselves take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP call to a participant. `path`, `query` and `body` are templates; `timeout` is seconds for the answer."""

    service: str
    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    timeout: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """One message to a topic, at least once and in the saga's order. `body` is a template of a JSON object."""

    topic: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """A message to wait for, without a driver: its `type` is one of these and its `saga_id` this saga's.

    It is the step's `response`. None in time (`timeout`, seconds) is an unknown outcome. Without a topic it comes by
    the API's signals only.
    """

    types: tuple[str, ...]
    topic: str | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: the call or the message that does it, and what makes it safe to have begun."""

    name: str
    action: Request | None = None
    publish: Publish | None = None
    """Does the step by a message instead of a call."""
    awaits: Await | None = None
    """The answer to the message; alone, something to wait for."""
    compensation: Request | None = None
    """Undoes the step, from its input and `${saga.do_key}` alone, since the answer may never have arrived."""
    undo_publish: Publish | None = None
    """Undoes the step by a message instead of a call."""
    inquiry: Request | None = None
    """Asks whether an unknown do happened. With it, `compensation` may use the step's own output."""
    safe: bool = False
    """Repeating or abandoning it has no consequence: reads, quotes."""
    pivot: bool = False
    """Point of no return: after it the saga only goes forward and is never undone."""
    when: str | None = None
    """A `${...}` over input and earlier steps that is true or false; false leaves the step out: its output is null."""
    foreach: str | None = None
    """A `${...}` that gives a list: the step is done once for each `item`, each with its own key and undo."""
    concurrency: int = 1
    """How many items may be under way at once."""
    reject_when: str | None = None
    """A `${...}` over the `response` that must be true or false; true means that the participant refused."""
    reject_reason: str = REFUSED
    """Template of the reason, over the same scope as `reject_when`."""
    output: Any = WHOLE_ANSWER
    """Template of what later steps see as `${steps.<name>}`, a list of them for foreach. A `${...}` in it that is null
    makes the answer unreadable; only the whole answer, the default, may be anything."""
    running_state: str | None = None
    done_state: str | None = None
    failed_state: str | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    undo_retry: RetryPolicy = UNDO_RETRIES

    @property
    def undoable(self) -> bool:
        """Whether having begun it may leave something to undo."""
        return self.compensation is not None or self.undo_publish is not None

    @property
    def requests(self) -> tuple[Request, ...]:
        """The calls that it may make."""
        return tuple(request for request in (self.action, self.compensation, self.inquiry) if request)

    @property
    def messages(self) -> tuple[Publish, ...]:
        """The messages that it may send."""
        return tuple(message for message in (self.publish, self.undo_publish) if message)


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaDefinition:
    """A workflow: its steps in order, and the business's word for each stage of the whole."""

    name: str
    version: int
    steps: tuple[Step, ...]
    initial_state: str
    completed_state: str
    compensating_state: str
    compensated_state: str
    failed_state: str
    """The end when nothing had to be undone."""
    input_schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    """JSON Schema (2020-12) of the input."""
    title: str = ""
    deadline: float | None = None
    """Seconds for all the steps; None takes the engine's SAGA_TIMEOUT. Undo has no deadline."""
    masked: tuple[str, ...] = ()
    """Names of fields, at any depth and in any case, whose values people may not see; beside those of masking.py."""
    business_ids: Mapping[str, str] = field(default_factory=dict)
    """Name -> template over input, steps and saga: the ids by which people of the business look for a saga."""

    def __post_init__(self) -> None:
        faults = find_faults(self)
        if faults:
            raise DefinitionInvalid(self.name, faults)

    def passes_compensation(self, step: Step) -> bool:
        """Whether a failure of this step goes through `compensating_state`.

        A failed state has one way out, so that the diagram does not depend on the run: it leads through the
        compensating state when any step that fails into it could leave something to undo.
        """
        peers = [other for other in self.steps if other is step or _shares_failure(other, step)]
        return any(before.undoable for peer in peers for before in self.steps[: self.steps.index(peer) + 1])

    def transitions(self) -> frozenset[tuple[str, str]]:
        """Every change of the business state that this workflow can make, as (from, to)."""
        path, edges = [self.initial_state], set()
        for step in self.steps:
            path += [step.running_state] if step.running_state else []
            edges |= set(self._ways_out(step, path[-1]))
            path += [step.done_state] if step.done_state else []
        path.append(self.completed_state)
        return frozenset({(a, b) for a, b in {*pairwise(path), *edges} if a != b})

    def _ways_out(self, step: Step, running: str) -> list[tuple[str, str]]:
        way = [running]
        way += [step.failed_state] if step.failed_state else []
        if not self.passes_compensation(step):
            return list(pairwise([*way, self.failed_state]))
        way.append(self.compensating_state)
        ends = {self.compensated_state, self.failed_state}
        return [*pairwise(way), *((self.compensating_state, end) for end in ends)]

    def needed_from(self, step: Step) -> frozenset[tuple[str, ...]]:
        """The paths inside this step's output that other calls read: `{("id",)}`; `()` is the whole. Not of foreach."""
        if step.foreach is not None:
            return frozenset()
        later = self.steps[self.steps.index(step) + 1 :]
        undo = [step.compensation] if step.compensation else []
        requests = [*undo, *(request for s in later for request in s.requests)]
        messages = [*([step.undo_publish] if step.undo_publish else []), *(m for s in later for m in s.messages)]
        texts = list(_texts([(request.path, request.query, request.body) for request in requests]))
        texts += list(_texts([message.body for message in messages]))
        texts += [text for s in later for text in _texts((s.when, s.foreach, s.reject_when, s.output))]
        reads = (path for text in texts for part in parse(text) if isinstance(part, Expression) for path in part.reads)
        return frozenset(path[2:] for path in reads if path[:2] == ("steps", step.name))

    def topics(self) -> dict[str, str]:
        """The topics that it speaks through, each by the place that names it: `steps[1].publish.topic`."""
        named = ("publish", "awaits", "undo_publish")
        fields = ((f"steps[{at}].{name}", getattr(step, name)) for at, step in enumerate(self.steps) for name in named)
        return {f"{place}.topic": each.topic for place, each in fields if each and each.topic}

    def longest_call(self) -> float:
        """Seconds that the most patient of its calls waits."""
        return max((request.timeout for step in self.steps for request in step.requests), default=0.0)

    def states_by_status(self) -> dict[SagaStatus, frozenset[str]]:
        """Which business states can stand beside which status; any other pair is impossible."""
        live, turning = self.live_states(), frozenset({self.compensating_state})
        return {
            SagaStatus.RUNNING: live,
            SagaStatus.WAITING: live,
            SagaStatus.COMPENSATING: turning,
            SagaStatus.STUCK: live | turning,
            SagaStatus.PAUSED: live | turning,
            SagaStatus.COMPLETED: frozenset({self.completed_state}),
            SagaStatus.COMPENSATED: frozenset({self.compensated_state}),
            SagaStatus.FAILED: frozenset({self.failed_state}),
        }

    def live_states(self) -> frozenset[str]:
        """The states of a saga that goes forward."""
        words = {self.initial_state}
        for step in self.steps:
            words |= {word for word in (step.running_state, step.done_state, step.failed_state) if word}
        return frozenset(words)


def _texts(value: Any) -> Iterator[str]:
    """Every text inside a template."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _shares_failure(one: Step, other: Step) -> bool:
    return one.failed_state is not None and one.failed_state == other.failed_state
