"""The saga: data that decides. Outcomes and times go in, events come out, and nothing else happens here.

A saga is the fold of its events (progress.py); decisions.py says which come next, operations.py what a person may do.
Drivers run the loop: `next_tasks(now)`, call, `record(outcome, now)`, store the events.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self

from domain.calls import Task
from domain.decisions import Answer
from domain.definition import Publish, Request, SagaDefinition, Step
from domain.events import FORWARD, Action, EventType, SagaEvent, SagaStatus
from domain.exceptions import NotAllowed
from domain.judgement import judge
from domain.operations import By, Operated
from domain.outcomes import CallFacts, Outcome, Postponed, Rejected, Succeeded, Unavailable, Unknown
from domain.progress import Origin

MOST_TAKEOVERS = 10
"""Drivers that may vanish one after another before a person must look."""


class Saga(Operated):
    """One run of a workflow: it decides what follows from what is known."""

    @classmethod
    def start(
        cls, definition: SagaDefinition, origin: Origin, actor: str | None = None
    ) -> tuple[Self, list[SagaEvent]]:
        """A new saga whose first calls are due at once, and the events to store before they go out."""
        saga = cls(definition, origin)
        saga._emit(EventType.SAGA_STARTED, origin.started_at, actor=actor)
        saga._continue(origin.started_at)
        return saga, saga._take()

    @classmethod
    def restore(cls, definition: SagaDefinition, origin: Origin, events: Iterable[SagaEvent]) -> Self:
        """The saga as its events left it."""
        saga = cls(definition, origin)
        for event in events:
            saga.apply(event)
        return saga

    def next_tasks(self, now: datetime) -> list[Task]:
        """The calls that are due, complete. The same until they are answered: after a crash they go out again."""
        if self.resting:
            return []
        due = ((work, work.pending) for work in self._pending if work.pending and work.pending.due_at <= now)
        return [self._task(work, attempt) for work, attempt in due if attempt.action is not Action.AWAIT]

    def planned(self, now: datetime) -> list[Task | tuple[Step, Request | Publish]]:
        """What would go out from here on if every call succeeded, in order; this saga is used up by asking.

        A call that depends on an answer that nobody has yet is its step and its request, with the templates in it.
        """
        calls: list[Task | tuple[Step, Request | Publish]] = []
        self.expire(now)
        undoing = True
        while undoing and not self.resting:
            tasks = self.next_tasks(datetime.max.replace(tzinfo=now.tzinfo))
            calls += tasks
            # None are due where it waits for a message: what comes after that depends on the message.
            undoing = bool(tasks) and all(task.attempt.action is Action.UNDO for task in tasks)
            for task in tasks if undoing else ():
                self.record(Succeeded(None), now, of=task)
        return calls if undoing else calls + list(self._later())

    def record(
        self, outcome: Outcome, now: datetime, of: Task | None = None, facts: CallFacts | None = None
    ) -> list[SagaEvent]:
        """Take the outcome of a call in, and return what happened as events to store.

        `of` names the call; it may be left out while only one is pending. Raises OutcomeUnexpected, having changed
        nothing, for a call that the saga does not wait for (it was answered before, or was never due).
        """
        work, attempt = self._awaited(of)
        recorder = {Action.DO: self._record_do, Action.UNDO: self._record_undo, Action.INQUIRE: self._record_inquiry}
        recorder[attempt.action](Answer(work, attempt, outcome, facts), now)
        self._continue(now)
        return self._take()

    def take_over(self, now: datetime, actor: str | None = None) -> list[SagaEvent]:
        """Go on for a driver that vanished: its due calls may have gone out, whatever their repeats will say.

        A saga whose drivers all vanish is parked in the end: driving it may be what fells them.
        A driver that gave the saga up in order needs no such thing: nothing of it is under way.
        """
        self._emit(EventType.DRIVER_REPLACED, now, actor=actor)
        if self.status is SagaStatus.RUNNING and self.failure:
            for work in list(self._pending):
                if work.pending and work.pending.action is Action.DO:  # a repeat would only be undone
                    self._emit_failed(Answer(work, work.pending, Unknown("its driver vanished")), now, None)
            self._continue(now)
        lately = [event.type for event in self.history[-MOST_TAKEOVERS:]]
        if lately == [EventType.DRIVER_REPLACED] * MOST_TAKEOVERS:
            self._park(now, f"{MOST_TAKEOVERS} drivers in a row vanished without an answer; their logs say why")
        return self._take()

    def signal(
        self, message: Mapping[str, Any], now: datetime, topic: str | None = None, by: By | None = None
    ) -> list[SagaEvent]:
        """Take a message in. None is what it does when the saga does not wait for it: it is late, or a duplicate.

        `by` is who gave it by hand, and why. Raises NotAllowed while the saga is paused: deliver it again later; and
        for one by hand that its step cannot read.
        """
        work = next((w for w in self._pending if w.pending and w.pending.action is Action.AWAIT), None)
        awaits = work.step.awaits if work else None
        if not work or not work.pending or not awaits or message.get("type") not in awaits.types:
            return []
        if topic is not None and topic != awaits.topic:
            return []
        if self.status is SagaStatus.PAUSED:
            raise NotAllowed("The saga is paused. Deliver the message again when it is resumed.")
        given = {"actor": by.actor, "reason": by.reason} if by else {}
        self._record_message(Answer(work, work.pending, Succeeded(dict(message))), now, **given)
        self._continue(now)
        return self._take()

    def end_wait(
        self, outcome: Rejected | Unavailable | Unknown, now: datetime, step: str, item: int | None = None
    ) -> list[SagaEvent]:
        """Stop waiting for a message that will not come; the step ends as `outcome` says.

        None is what it does when the saga does not wait there. Raises NotAllowed while the saga is paused.
        """
        for work in self._pending:
            if (work.step.name, work.item) == (step, item) and work.pending and work.pending.action is Action.AWAIT:
                if self.status is SagaStatus.PAUSED:
                    raise NotAllowed("The saga is paused.")
                self._record_message(Answer(work, work.pending, outcome), now)
                self._continue(now)
                break
        return self._take()

    def awaits_later(self, message: Mapping[str, Any], topic: str) -> bool:
        """Whether a step that has not begun to wait will wait for such a message: then it must be delivered again.

        Not once the saga has turned back or ended; and not for a message that a step has taken already, by what it
        made of it, or could have taken had no person settled that step: those are duplicates, or late.
        """
        if self.finished or SagaStatus.COMPENSATING in {self.status, self.held_from if self.held else None}:
            return False
        waiting = [step for step in self.definition.steps if _answers(step, message, topic)]
        ahead = self.definition.steps[self._position :]
        return any(step in ahead for step in waiting) and not any(
            self._is_settled_by(step, message) for step in waiting if step not in ahead
        )

    def _is_settled_by(self, step: Step, message: Mapping[str, Any]) -> bool:
        works = self._works[step.name]
        if not works:
            return False  # it was left out, and waited for nothing
        answered = judge(step, self._scope(works[0]), Succeeded(dict(message)))
        by_message = any(
            event.step == step.name and event.action is Action.AWAIT and event.type is EventType.STEP_SUCCEEDED
            for event in self.history
        )
        return not by_message or (isinstance(answered, Succeeded) and answered.output == self.outputs[step.name])

    def contradicts(self, message: Mapping[str, Any], topic: str) -> bool:
        """Whether it says that a step was done which a message of its participant has refused."""
        refused = {
            event.step
            for event in self.history
            if (event.type, event.action, event.outcome) == (EventType.ATTEMPT_FAILED, Action.AWAIT, Rejected.kind)
            and event.actor is None
        }
        return any(
            isinstance(judge(step, self._scope(self._works[step.name][0]), Succeeded(dict(message))), Succeeded)
            for step in self.definition.steps
            if step.name in refused and _answers(step, message, topic)
        )

    def postpone(self, postponed: Postponed, now: datetime, of: Task) -> list[SagaEvent]:
        """Put a due call off that was not made.

        It uses up no attempt. A do that would then come after the deadline has certainly not been done, and never is.
        """
        work, attempt = self._awaited(of)
        until = now + timedelta(seconds=self._put_off(work, postponed.seconds))
        answer = Answer(work, attempt, Unavailable(postponed.reason))
        patience = self._patience(answer, now) if attempt.action is Action.DO else None
        failed = attempt.action is Action.DO and self.failure is not None
        if failed or (patience is not None and until >= patience):
            self._emit_failed(answer, now, None)
            self._continue(now)
        else:
            self._emit_postponed(work, attempt, until, postponed.reason, now)
        return self._take()

    def expire(self, now: datetime) -> list[SagaEvent]:
        """Turn back if the deadline has passed, or no message came in its time.

        A call that may have gone out, and a message that was not answered, is taken as perhaps done. A call that was
        due under an earlier release, and that this one cannot write down, is not made.
        """
        self._refuse_unwritable(now)
        if self.status is SagaStatus.RUNNING and self.failure and self._pending:
            self._stop_repeating(now, under_way=False)
            self._continue(now)
        self._lapse(now)
        if not self._overdue(now) or self.status not in FORWARD or self.failure:
            return self._take()
        for work in list(self._pending):
            assert work.pending is not None
            sent = work.pending.due_at <= now or work.pending.action is Action.AWAIT
            outcome = Unknown("the deadline passed before an answer") if sent else Unavailable("the deadline passed")
            self._emit_failed(Answer(work, work.pending, outcome), now, None, status=SagaStatus.RUNNING)
        self._emit_deadline(now)
        self._continue(now)
        return self._take()


def _answers(step: Step, message: Mapping[str, Any], topic: str) -> bool:
    return step.awaits is not None and step.awaits.topic == topic and message.get("type") in step.awaits.types
