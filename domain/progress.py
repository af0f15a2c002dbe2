"""How far a saga has come: the fold of its events, and the questions that can be asked of it.

`apply` is the only code that changes a saga, so one that is read back from its history is the one that wrote it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from reprlib import repr as briefly
from typing import Any, Self
from uuid import UUID

from domain.calls import Attempt, Work, idempotency_key
from domain.definition import SagaDefinition, Step
from domain.events import FINISHED, HELD, NEXT, Action, EventType, SagaEvent, SagaStatus
from domain.exceptions import TemplateError
from domain.outcomes import Rejected, Unknown
from domain.templates import Scope, render

DEADLINE, OPERATOR = "deadline", "operator"
"""The `outcome` of a failure that no participant caused: it stands, whatever is found to have been done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is fixed when a saga starts and never changes afterwards."""

    id: UUID
    input: Mapping[str, Any]
    correlation_id: str
    started_at: datetime
    deadline_at: datetime
    max_retries: int
    tenant: str = ""
    traceparent: str | None = None
    """Its trace and its parent there, as W3C Trace Context writes them; None: it is a trace of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the saga turned back. `outcome` is a participant's (`rejected`, ...), `deadline` or `operator`."""

    step: str
    outcome: str
    reason: str
    item: int | None = None

    @property
    def place(self) -> str:
        """`step`, or `step[item]`."""
        return self.step if self.item is None else f"{self.step}[{self.item}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A call that is due, or will be: attempt `attempt` of at most `budget`."""

    step: str
    item: int | None
    action: Action
    service: str
    attempt: int
    budget: int
    due_at: datetime

    @property
    def place(self) -> str:
        """`step`, or `step[item]`."""
        return self.step if self.item is None else f"{self.step}[{self.item}]"


class Progress:
    """What the events of one saga say."""

    def __init__(self, definition: SagaDefinition, origin: Origin) -> None:
        self.definition = definition
        self.origin = origin
        self.seq = 0
        self.status = SagaStatus.RUNNING
        # What follows from the status is asked for at every turn, and kept.
        self.held = False
        """Whether only a person moves it on: parked or paused."""
        self.finished = False
        """Whether it has ended; only a person can have a completed one undone."""
        self.resting = False
        """Whether nothing happens by itself any more: it has ended, or is held."""
        self.driverless = False
        """Whether nobody drives it: it rests, or waits for a message."""
        self.state = definition.initial_state
        self.failure: Failure | None = None
        self.deadline_at = origin.deadline_at
        self.parked_reason: str | None = None
        self.held_from: SagaStatus | None = None
        """What a parked or paused saga was doing, and does again when a person lets it."""
        self.held_at: datetime | None = None
        """Since when nothing has gone out."""
        self.finished_at: datetime | None = None
        self.history: list[SagaEvent] = []
        self.outputs: dict[str, Any] = {}
        """The output of each step that is done, by name; a list for a foreach step."""
        self._steps = {step.name: step for step in definition.steps}
        self._saga_scope = {
            "id": str(origin.id),
            "workflow": definition.name,
            "correlation_id": origin.correlation_id,
        }
        self._position = 0
        self._works: dict[str, list[Work]] = {}
        self._items: dict[str, list[Any]] = {}
        self._pending: list[Work] = []
        self._inquiry_waived = False

    @property
    def id(self) -> UUID:
        return self.origin.id

    def copy(self) -> Self:
        """Another that stands where this one does, to think something through: what happens to it stays there."""
        other = copy(self)
        works = {id(work): replace(work) for each in self._works.values() for work in each}
        vars(other).update(
            history=[*self.history],
            outputs={**self.outputs},
            _items={**self._items},
            _works={name: [works[id(work)] for work in each] for name, each in self._works.items()},
            _pending=[works[id(work)] for work in self._pending],
        )
        return other

    @property
    def must_be_durable(self) -> bool:
        """Whether what follows cannot be taken back: a call with an effect goes out, or the outcome is told."""
        return self.resting or any(not work.step.safe for work in self._pending)

    def wake_at(self) -> datetime | None:
        """When the next call is due; None when the saga waits for nothing."""
        if self.resting:
            return None
        return min((work.pending.due_at for work in self._pending if work.pending), default=None)

    def waiting(self) -> list[Waiting]:
        """The calls that it waits for, also while it is paused."""
        return [
            Waiting(
                step=work.step.name,
                item=work.item,
                action=work.pending.action,
                service=work.service(work.pending.action),
                attempt=work.pending.number,
                budget=1 if work.pending.action is Action.AWAIT else self._retries(work, work.pending.action) + 1,
                due_at=work.pending.due_at,
            )
            for work in self._pending
            if work.pending
        ]

    def awaited_types(self) -> tuple[str, ...]:
        """The types of message that it waits for."""
        waits = [work.step.awaits for work in self._pending if work.pending and work.pending.action is Action.AWAIT]
        return waits[0].types if waits and waits[0] else ()

    def debts(self) -> list[str]:
        """What is to be undone before the saga could end undone, in that order: `step` or `step[item]`."""
        return [work.place for work in self._all_work_reversed() if work.owes_undo]

    def debts_by_service(self) -> dict[str, int]:
        """How many undos are owed at each service; at a topic, where a message undoes."""
        return Counter(work.service(Action.UNDO) for work in self._all_work_reversed() if work.owes_undo)

    def apply(self, event: SagaEvent) -> None:
        """Take one event in. Events come in the order of `seq`, without a gap."""
        assert event.seq == self.seq + 1, f"event {event.seq} cannot follow {self.seq}"
        if event.status is not self.status or self.finished:
            self._change_status(event)
        self.seq, self.state = event.seq, event.state
        self.history.append(event)
        fold = _FOLDS.get(event.type)
        if fold:
            fold(self, event)
        if self.parked_reason and self.status is not SagaStatus.STUCK:
            self.parked_reason = None
        if self.held_at and not self.held:
            self.held_at = None

    def _change_status(self, event: SagaEvent) -> None:
        assert event.status in NEXT[self.status], f"{event.status} cannot follow {self.status}"
        was_held, before = self.held, self.status
        self.status = event.status
        self.held, self.finished = event.status in HELD, event.status in FINISHED
        self.resting = self.held or self.finished
        self.driverless = self.resting or event.status is SagaStatus.WAITING
        self.finished_at = event.at if self.finished else None
        if self.held and not was_held:
            self.held_from, self.held_at = before, event.at

    def scope(self) -> Scope:
        """What templates of the whole may read, of no call in particular."""
        return {"input": self.origin.input, "steps": self.outputs, "saga": self._saga_scope}

    # --- questions ----------------------------------------------------------------------------------------------

    def _key(self, work: Work, action: Action) -> str:
        return idempotency_key(self._saga_scope["id"], work.step, work.item, action)

    def _retries(self, work: Work, action: Action) -> int:
        own = work.policy(action).max_retries
        return self.origin.max_retries if own is None else own

    def _scope(self, work: Work) -> Scope:
        """What the templates of this step's calls may read."""
        scope: dict[str, Any] = {
            "input": self.origin.input,
            "steps": self.outputs,
            "saga": {**self._saga_scope, "do_key": self._key(work, Action.DO)},
        }
        if work.item is not None:
            scope["item"] = self._items[work.step.name][work.item]
        if work.done and work.step.inquiry:
            scope["steps"] = {**self.outputs, work.step.name: work.output}
        return scope

    def _past_pivot(self, now: datetime, answered: Work | None = None) -> bool:
        """Whether a point of no return was passed, or may have been: a pivot's unanswered call that went out counts."""
        now = self._sending_until(now)
        return any(
            work.done
            or work.maybe_done
            or (work is not answered and work.pending is not None and work.pending.due_at <= now)
            for step in self.definition.steps
            if step.pivot
            for work in self._works.get(step.name, [])
        )

    def _sending_until(self, now: datetime) -> datetime:
        """Until when what was due may have gone out: not while the saga was held."""
        return min(now, self.held_at) if self.held_at else now

    def _all_work_reversed(self) -> Iterator[Work]:
        for step in reversed(self.definition.steps):
            yield from reversed(self._works.get(step.name, []))

    def _step(self, name: str) -> Step:
        return self._steps[name]

    def _open(self, step: Step) -> TemplateError | None:
        """Find the items of a step, none if it is left out.

        The error is why that cannot be said; the step then stands for itself.
        """
        if step.name in self._works:
            return None
        self._works[step.name] = [Work(step, None)]
        if step.foreach is None and step.when is None:
            return None
        try:
            items = self._find_items(step)
        except TemplateError as error:
            return error
        if step.foreach is None:
            self._works[step.name] = [Work(step, None)] if items else []
        else:
            self._items[step.name] = items
            self._works[step.name] = [Work(step, index) for index in range(len(items))]
        return None

    def _find_items(self, step: Step) -> list[Any]:
        scope = self.scope()
        wanted = step.when is None or render(step.when, scope)
        if not isinstance(wanted, bool):
            raise TemplateError(f"when {step.when} is {briefly(wanted)}, not true or false")
        if not wanted:
            return []
        items = [None] if step.foreach is None else render(step.foreach, scope)
        if not isinstance(items, list):
            raise TemplateError(f"foreach {step.foreach} is a {type(items).__name__}, not a list")
        return items

    # --- folding ------------------------------------------------------------------------------------------------

    def _on_scheduled(self, event: SagaEvent) -> None:
        assert event.action and event.attempt and event.due_at
        work = self._work(event)
        work.pending = Attempt(action=event.action, number=event.attempt, due_at=event.due_at, seq=event.seq)
        self._pending.append(work)

    def _on_postponed(self, event: SagaEvent) -> None:
        work = self._work(event)
        assert work.pending and event.due_at
        work.pending = replace(work.pending, due_at=event.due_at)

    def _on_published(self, event: SagaEvent) -> None:
        if event.action is Action.DO:
            self._work(event).maybe_done = True

    def _on_failed(self, event: SagaEvent) -> None:
        work = self._settle(event)
        if event.action is Action.DO and event.outcome == Unknown.kind:
            work.maybe_done = True
        if event.action is Action.AWAIT and event.outcome == Rejected.kind and _is_certain(event, work.step):
            work.maybe_done = False
        if event.due_at is not None:
            return
        if event.action is Action.UNDO:
            work.undo_given_up = True
        elif event.action is Action.INQUIRE:
            work.inquiry_given_up = True
        else:
            self._fail(event)

    def _on_succeeded(self, event: SagaEvent) -> None:
        assert event.step
        step = self._step(event.step)
        self._open(step)
        if event.action is not None:
            work = self._settle(event)
            work.done, work.maybe_done, work.output = True, False, event.output
        self._close(step)

    def _on_replaced(self, event: SagaEvent) -> None:
        for work in self._pending:
            assert work.pending is not None
            if work.pending.action is Action.DO and work.pending.due_at <= event.at:
                work.maybe_done = True

    def _on_inquired(self, event: SagaEvent) -> None:
        if event.outcome != "done":
            self._settle(event).maybe_done = False
            self._fail(event)
            return
        if self._failed_by(event) and self.failure and self.failure.outcome not in {DEADLINE, OPERATOR}:
            self.failure = None
        self._on_succeeded(event)

    def _on_deadline(self, event: SagaEvent) -> None:
        assert event.step
        self._open(self._step(event.step))  # the saga had come to this step, though none of its calls went out
        self.failure = Failure(step=event.step, outcome=DEADLINE, reason=event.reason or DEADLINE)

    def _on_undone(self, event: SagaEvent) -> None:
        self._settle(event).undone = True

    def _on_parked(self, event: SagaEvent) -> None:
        self.parked_reason = event.reason

    def _on_retried(self, event: SagaEvent) -> None:
        """Everything that waits is due, and what was given up has a full budget again."""
        self._on_resumed(event)
        for work in self._all_work_reversed():
            work.undo_given_up = work.inquiry_given_up = False
            if work.pending and work.pending.due_at > event.at:
                work.pending = replace(work.pending, due_at=event.at)
        if self.failure and self.status is SagaStatus.RUNNING and self._past_pivot(event.at):
            self.failure = None  # there is only the way forward

    def _on_skipped(self, event: SagaEvent) -> None:
        work = self._settle(event)
        if event.action is Action.UNDO:
            work.undone = True
            return
        work.done, work.maybe_done, work.output = True, False, event.output
        if self._failed_by(event):
            self.failure = None
        self._on_resumed(event)
        self._close(work.step)

    def _on_turned_back(self, event: SagaEvent) -> None:
        """A person has it undone: a call that went out and was not answered is taken as perhaps done."""
        assert event.step
        self._inquiry_waived = self.parked_reason is not None
        self._open(self._step(event.step))
        for work in self._pending:
            assert work.pending
            if work.pending.action is Action.DO and work.pending.due_at <= self._sending_until(event.at):
                work.maybe_done = True
            work.pending = work.rendered = None
        self._pending = []
        for work in self._all_work_reversed():
            work.undo_given_up = False
        if not self.failure:
            self.failure = Failure(step=event.step, outcome=OPERATOR, reason=event.reason or OPERATOR)

    def _on_resumed(self, event: SagaEvent) -> None:
        for work in self._pending:
            if work.pending and work.step.awaits and work.pending.action is Action.AWAIT:
                until = event.at + timedelta(seconds=work.step.awaits.timeout)
                work.pending = replace(work.pending, due_at=until)
        self.deadline_at = event.due_at or self.deadline_at

    def _on_resolved(self, event: SagaEvent) -> None:
        assert event.step
        self._on_turned_back(event)
        if event.status is SagaStatus.COMPLETED:
            self.failure = None

    def _fail(self, event: SagaEvent) -> None:
        """The first failure is the reason that the saga gives."""
        assert event.step and event.outcome
        reason = event.reason or event.outcome
        if not self.failure:
            self.failure = Failure(step=event.step, item=event.item, outcome=event.outcome, reason=reason)

    def _failed_by(self, event: SagaEvent) -> bool:
        """Whether the saga failed by the step and item of this event."""
        return self.failure is not None and (self.failure.step, self.failure.item) == (event.step, event.item)

    def _work(self, event: SagaEvent) -> Work:
        assert event.step
        self._open(self._step(event.step))
        return self._works[event.step][event.item or 0]

    def _settle(self, event: SagaEvent) -> Work:
        """The work whose call this event answers; it waits for nothing any more."""
        work = self._work(event)
        if work.pending is not None:
            work.pending = work.rendered = None
            self._pending = [other for other in self._pending if other is not work]
        return work

    def _close(self, step: Step) -> None:
        """Publish the step's output and move on when all its items are done."""
        works = self._works[step.name]
        if step.name not in self.outputs and all(work.done for work in works):
            outputs = [work.output for work in works]
            self.outputs[step.name] = outputs if step.foreach else outputs[0] if outputs else None
            self._position += 1


def _is_certain(refusal: SagaEvent, step: Step) -> bool:
    """Whether what was asked for by a message is certainly not done: its participant has said so itself.

    A person who refuses by hand does not know whether the participant has heard of it, or will. A point of no return
    that the API alone answers has no other way to be refused.
    """
    answered_by_api_alone = step.awaits is not None and step.awaits.topic is None
    return refusal.actor is None or (step.pivot and answered_by_api_alone)


_FOLDS = {
    EventType.ATTEMPT_SCHEDULED: Progress._on_scheduled,  # noqa: SLF001 - the table belongs to the class above
    EventType.MESSAGE_PUBLISHED: Progress._on_published,  # noqa: SLF001
    EventType.ATTEMPT_POSTPONED: Progress._on_postponed,  # noqa: SLF001
    EventType.ATTEMPT_FAILED: Progress._on_failed,  # noqa: SLF001
    EventType.STEP_SUCCEEDED: Progress._on_succeeded,  # noqa: SLF001
    EventType.DRIVER_REPLACED: Progress._on_replaced,  # noqa: SLF001
    EventType.INQUIRY_ANSWERED: Progress._on_inquired,  # noqa: SLF001
    EventType.DEADLINE_PASSED: Progress._on_deadline,  # noqa: SLF001
    EventType.UNDO_SUCCEEDED: Progress._on_undone,  # noqa: SLF001
    EventType.SAGA_PARKED: Progress._on_parked,  # noqa: SLF001
    EventType.RETRY_REQUESTED: Progress._on_retried,  # noqa: SLF001
    EventType.STEP_SKIPPED: Progress._on_skipped,  # noqa: SLF001
    EventType.COMPENSATION_REQUESTED: Progress._on_turned_back,  # noqa: SLF001
    EventType.SAGA_RESUMED: Progress._on_resumed,  # noqa: SLF001
    EventType.SAGA_RESOLVED: Progress._on_resolved,  # noqa: SLF001
}
