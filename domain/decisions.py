"""What follows from what is known of a saga: which calls come next, when to turn back, what to undo, when to park.

Every decision is an event, applied to the saga at once; nothing else changes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Self
from zlib import crc32

from domain.calls import Attempt, Task, Work, render_message, render_request
from domain.definition import Publish, Request, SagaDefinition, Step
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.exceptions import NotAllowed, OutcomeUnexpected, TemplateError
from domain.judgement import judge, judge_inquiry
from domain.outcomes import CallFacts, Outcome, Rejected, Succeeded, Unavailable, Unknown
from domain.progress import DEADLINE, OPERATOR, Failure, Origin, Progress
from domain.sentences import said


@dataclass(slots=True)
class Answer:
    """A call and how it ended."""

    work: Work
    attempt: Attempt
    outcome: Outcome
    facts: CallFacts | None = None


ANSWERS = frozenset(
    {EventType.STEP_SUCCEEDED, EventType.ATTEMPT_FAILED, EventType.UNDO_SUCCEEDED, EventType.INQUIRY_ANSWERED}
)
"""What can come of a call."""

LONGEST_PUT_OFF = 60.0
"""Seconds between two looks at whether a participant may be called again."""


class Deciding(Progress):
    """The rules of a saga. Its public face is `Saga`."""

    def __init__(self, definition: SagaDefinition, origin: Origin) -> None:
        super().__init__(definition, origin)
        self._fresh: list[SagaEvent] = []

    def copy(self) -> Self:
        """See `Progress`."""
        other = super().copy()
        vars(other).update(_fresh=[*self._fresh])
        return other

    # --- deciding -----------------------------------------------------------------------------------------------

    def _continue(self, now: datetime) -> None:
        """Whatever follows from what is known: schedule, turn back, undo, end."""
        if self.status is SagaStatus.RUNNING and not self.failure:
            self._go_forward(now)
        if self.status is SagaStatus.RUNNING and self.failure:
            self._stop_repeating(now)
        if self.status is SagaStatus.RUNNING and self.failure and not self._pending:
            self._turn_back(now)
        if self.status is SagaStatus.COMPENSATING and not self._pending:
            self._undo_next(now)

    def _go_forward(self, now: datetime) -> None:
        while self._position < len(self.definition.steps):
            step = self.definition.steps[self._position]
            self._enter(step, now)
            if self.failure:
                return
            if self._works[step.name]:
                if self._overdue(now):
                    self._stop_forward(now)
                    return
                position = self._position
                self._schedule_items(step, now)
                if self._position == position:
                    return
                continue  # messages went out, and nothing is to be waited for
            self._emit_empty(step, now)
        self._emit(EventType.SAGA_COMPLETED, now, SagaStatus.COMPLETED, self.definition.completed_state)

    def _stop_forward(self, now: datetime) -> None:
        """After the deadline nothing new begins; what is under way is waited for."""
        if not self._pending:
            self._emit_deadline(now)

    def _enter(self, step: Step, now: datetime) -> None:
        """Find the step's items; a list that cannot be had fails the step before any call."""
        error = self._open(step)
        if error:
            self._fail_unsent(self._works[step.name][0], Action.DO, now, str(error))

    def _schedule_items(self, step: Step, now: datetime) -> None:
        for work in self._works[step.name]:
            if len(self._pending) >= step.concurrency or self.failure:
                return
            if not work.done and work.pending is None:
                self._schedule(work, Action.DO, now)

    def _stop_repeating(self, now: datetime, *, under_way: bool = True) -> None:
        """A step that has failed is not begun again: what would go out later does not.

        What is due is awaited while it may be `under_way`. Before the next calls go out it is not: its driver has the
        answers to all that it has sent by then, and what another driver sent is known from `take_over`.
        """
        for work in list(self._pending):
            attempt = work.pending
            if attempt and attempt.action is Action.DO and (attempt.due_at > now or not under_way):
                self._emit_failed(Answer(work, attempt, Unavailable("not repeated: the step has failed")), now, None)

    def _refuse_unwritable(self, now: datetime) -> None:
        """What is due and can no longer be written down fails, as it would have when it was made due."""
        for work in list(self._pending) if not self.resting else ():
            attempt = work.pending
            if attempt is None or attempt.action is Action.AWAIT or attempt.due_at > now:
                continue
            try:
                self._request(work, attempt.action)
            except TemplateError as error:
                refused = Rejected(f"the call cannot be made: {error}")
                self._emit_failed(Answer(work, attempt, refused), now, None)
                self._continue(now)

    def _put_off(self, work: Work, seconds: float) -> float:
        """Seconds until a call that was put off is due again: longer each time in a row, and not all at once."""
        place = (work.step.name, work.item)
        mine = [event for event in self.history if (event.step, event.item) == place]
        in_a_row = len(list(takewhile(lambda event: event.type is EventType.ATTEMPT_POSTPONED, reversed(mine))))
        draw = crc32(f"{self._saga_scope['id']}#{in_a_row}".encode()) / 2**32
        return max(seconds, (0.5 + draw / 2) * min(seconds * 2.0**in_a_row, LONGEST_PUT_OFF))

    def _turn_back(self, now: datetime) -> None:
        """A step has failed for good: find out what is unknown, then undo, or park where there is no way back."""
        assert self.failure is not None
        step = self._step(self.failure.step)
        unknown = [work for work in self._works.get(step.name, []) if work.maybe_done]
        if step.inquiry and unknown and not self._inquiry_waived:
            for work in unknown:
                if not work.inquiry_given_up:
                    self._schedule(work, Action.INQUIRE, now)
            if not self._pending:
                self._park(now, f"{step.name} may have been done, and the inquiry was not answered")
            return
        if self._past_pivot(now):
            self._park(now, f"{step.name} failed after the point of no return: {self.failure.reason}")
            return
        self._emit_step_failed(step, self.failure, now)
        if self.definition.passes_compensation(step):
            self._emit(EventType.COMPENSATION_STARTED, now, SagaStatus.COMPENSATING, self.definition.compensating_state)
        else:
            self._emit(EventType.SAGA_FAILED, now, SagaStatus.FAILED, self.definition.failed_state)

    def _undo_next(self, now: datetime) -> None:
        """Undo the last effect that is left; an undo given up holds up the earlier steps, not its own siblings."""
        while not self._pending:
            debts = [work for work in self._all_work_reversed() if work.owes_undo]
            if not debts:
                self._emit_undone(now)
                return
            due = [work for work in debts if work.step is debts[0].step and not work.undo_given_up]
            if not due:
                self._park(
                    now, f"the undo of {debts[0].step.name} was given up; it and what came before are still owed"
                )
                return
            self._schedule(due[0], Action.UNDO, now)

    def _emit_undone(self, now: datetime) -> None:
        if any(work.undone for work in self._all_work_reversed()):
            self._emit(EventType.SAGA_COMPENSATED, now, SagaStatus.COMPENSATED, self.definition.compensated_state)
        else:
            self._emit(EventType.SAGA_FAILED, now, SagaStatus.FAILED, self.definition.failed_state)

    # --- taking answers in --------------------------------------------------------------------------------------

    def _record_do(self, answer: Answer, now: datetime) -> None:
        answer.outcome = judge(answer.work.step, self._scope(answer.work), answer.outcome)
        if isinstance(answer.outcome, Succeeded):
            self._emit_answer(
                EventType.STEP_SUCCEEDED,
                answer,
                now,
                output=answer.outcome.output,
                state=self._state_after(answer.work),
            )
            return
        retry_at = None
        if not self.failure:
            retry_at = self._retry_at(answer, now, self._patience(answer, now))
        self._emit_failed(answer, now, retry_at)

    def _record_undo(self, answer: Answer, now: datetime) -> None:
        if isinstance(answer.outcome, Succeeded):
            self._emit_answer(EventType.UNDO_SUCCEEDED, answer, now)
        else:
            self._emit_failed(answer, now, self._retry_at(answer, now, None))

    def _record_inquiry(self, answer: Answer, now: datetime) -> None:
        answer.outcome = judge_inquiry(answer.work.step, self._scope(answer.work), answer.outcome)
        if isinstance(answer.outcome, Succeeded):
            self._emit_answer(
                EventType.INQUIRY_ANSWERED,
                answer,
                now,
                outcome="done",
                output=answer.outcome.output,
                state=self._state_after(answer.work),
            )
        elif isinstance(answer.outcome, Rejected):
            self._emit_answer(EventType.INQUIRY_ANSWERED, answer, now, outcome="not_done", reason=answer.outcome.reason)
        else:
            retry_at = self._retry_at(answer, now, None)
            self._emit_failed(answer, now, retry_at)

    def _record_message(self, answer: Answer, now: datetime, actor: str | None = None, reason: str = "") -> None:
        """`actor` and `reason` are a person's, who gave it by hand. Raises NotAllowed when that says nothing."""
        answer.outcome = judge(answer.work.step, self._scope(answer.work), answer.outcome)
        if actor is not None and isinstance(answer.outcome, Unknown):
            parts = {"step": answer.work.step.name, "reason": answer.outcome.reason}
            raise NotAllowed(said("%(step)s cannot take this message (%(reason)s). Nothing was done.", **parts))
        if isinstance(answer.outcome, Succeeded):
            self._emit_answer(
                EventType.STEP_SUCCEEDED,
                answer,
                now,
                status=SagaStatus.RUNNING,
                output=answer.outcome.output,
                state=self._state_after(answer.work),
                actor=actor,
                reason=reason or None,
            )
        else:
            why = f"{answer.outcome.reason} (by hand: {reason})" if reason else answer.outcome.reason
            answer.outcome = replace(answer.outcome, reason=why)
            self._emit_failed(answer, now, None, status=SagaStatus.RUNNING, actor=actor)

    def _lapse(self, now: datetime) -> None:
        """What waits for a message whose time is over has an unknown outcome."""
        for work in list(self._pending):
            attempt = work.pending
            if self.status is SagaStatus.WAITING and attempt and attempt.due_at <= now:
                lapsed = Answer(work, attempt, Unknown("no message came in time"))
                self._emit_failed(lapsed, now, None, status=SagaStatus.RUNNING)
                self._continue(now)

    def _retry_at(self, answer: Answer, now: datetime, until: datetime | None) -> datetime | None:
        """When to try again; None when the refusal is certain, the budget is used up, or `until` would be reached."""
        action, number = answer.attempt.action, answer.attempt.number
        if isinstance(answer.outcome, Rejected) or number > self._retries(answer.work, action):
            return None
        draw = crc32(f"{self._key(answer.work, action)}#{number}".encode()) / 2**32
        wait = draw * answer.work.policy(action).ceiling(number)
        if isinstance(answer.outcome, Unavailable) and answer.outcome.retry_after:
            wait = max(wait, answer.outcome.retry_after)
        due_at = now + timedelta(seconds=wait)
        return None if until is not None and due_at >= until else due_at

    # --- facts --------------------------------------------------------------------------------------------------

    def _overdue(self, now: datetime) -> bool:
        return now >= self.deadline_at and not self._past_pivot(now)

    def _patience(self, answer: Answer, now: datetime) -> datetime | None:
        """Until when a do may be repeated: the deadline, but none once there may be no way back."""
        perhaps_done = answer.work.step.pivot and isinstance(answer.outcome, Unknown)
        return None if perhaps_done or self._past_pivot(now, answered=answer.work) else self.deadline_at

    def _state_after(self, work: Work) -> str | None:
        """The step's done state when this is the last of its items to succeed; None leaves the state as it is."""
        if self.failure and self.failure.outcome in {DEADLINE, OPERATOR}:
            return None  # it is known to be done only to be undone
        others = (other for other in self._works[work.step.name] if other is not work)
        return work.step.done_state if all(other.done for other in others) else None

    def _awaited(self, of: Task | None) -> tuple[Work, Attempt]:
        if self.resting:
            raise OutcomeUnexpected
        if of is None:
            found = self._pending if len(self._pending) == 1 else []
        else:
            place = (of.step, of.item, of.attempt)
            found = [work for work in self._pending if (work.step.name, work.item, work.pending) == place]
        if not found or found[0].pending is None:
            raise OutcomeUnexpected
        return found[0], found[0].pending

    def _task(self, work: Work, attempt: Attempt) -> Task:
        return Task(
            saga_id=self.id,
            correlation_id=self.origin.correlation_id,
            workflow=self.definition.name,
            deadline=self.deadline_at,
            step=work.step.name,
            item=work.item,
            attempt=attempt,
            key=self._key(work, attempt.action),
            traceparent=self.origin.traceparent,
            **self._request(work, attempt.action),
        )

    def asked(self, event: SagaEvent) -> dict[str, Any] | None:
        """The request that this event answers, written down again from what is known by now: `service, method, path,
        query, body, timeout`. None for what answers no call, and for a call that could not be written down.
        """
        if event.type not in ANSWERS or event.action is None:
            return None
        work = self._work(event)
        template = work.template(event.action)
        try:
            return render_request(template, self._scope(work)) if template else None
        except TemplateError:
            return None

    def _later(self) -> Iterator[tuple[Step, Request | Publish]]:
        """The calls after those that wait for an answer, if that is the one hoped for."""
        if self.failure:
            for work in self._all_work_reversed():
                undo = work.step.compensation or work.step.undo_publish
                if work.owes_undo and undo:
                    yield work.step, undo
            return
        for step in self.definition.steps[self._position :]:
            works = self._works.get(step.name)
            call = step.action or step.publish
            for _ in [work for work in works if not work.done and not work.pending] if works else [None]:
                if call:
                    yield step, call

    # --- events -------------------------------------------------------------------------------------------------

    def _schedule(self, work: Work, action: Action, now: datetime) -> None:
        """Make the first attempt of a call due; a call that cannot be written down fails without going out."""
        message = {Action.DO: work.step.publish, Action.UNDO: work.step.undo_publish}.get(action)
        if message or (action is Action.DO and work.step.awaits):
            self._send(work, action, message, now)
            return
        try:
            self._request(work, action)
        except TemplateError as error:
            self._fail_unsent(work, action, now, str(error))
            return
        self._emit_scheduled(work, Attempt(action=action, number=1, due_at=now), now)

    def _send(self, work: Work, action: Action, message: Publish | None, now: datetime) -> None:
        """A message is sent by the checkpoint that stores this: there is no moment between the two."""
        step = work.step
        if message:
            try:
                body = render_message(message, self._scope(work))
            except TemplateError as error:
                self._fail_unsent(work, action, now, str(error))
                return
            self._emit_message(work, action, {"topic": message.topic, "body": body}, now)
        if action is Action.UNDO:
            self._emit(EventType.UNDO_SUCCEEDED, now, step=step.name, item=work.item, action=action, outcome="sent")
        elif step.awaits:
            until = now + timedelta(seconds=step.awaits.timeout)
            if not self._past_pivot(now):
                until = min(until, self.deadline_at)
            self._emit_scheduled(work, Attempt(action=Action.AWAIT, number=1, due_at=until), now)
        else:
            state = self._state_after(work)
            self._emit(
                EventType.STEP_SUCCEEDED,
                now,
                state=state,
                step=step.name,
                item=work.item,
                action=action,
                outcome="sent",
            )

    def _emit_message(self, work: Work, action: Action, message: dict[str, Any], now: datetime) -> None:
        self._emit(
            EventType.MESSAGE_PUBLISHED,
            now,
            state=work.step.running_state if action is Action.DO else None,
            step=work.step.name,
            item=work.item,
            action=action,
            service=message["topic"],
            output=message,
        )

    def _request(self, work: Work, action: Action) -> dict[str, Any]:
        if work.rendered is None:
            work.rendered = render_request(work.request(action), self._scope(work))
        return work.rendered

    def _fail_unsent(self, work: Work, action: Action, now: datetime, reason: str) -> None:
        unsent = Attempt(action=action, number=1, due_at=now)
        self._emit_failed(Answer(work, unsent, Rejected(f"the call cannot be made: {reason}")), now, None)

    def _park(self, now: datetime, reason: str) -> None:
        self._emit(EventType.SAGA_PARKED, now, SagaStatus.STUCK, reason=reason)

    def _emit_scheduled(self, work: Work, attempt: Attempt, now: datetime) -> None:
        self._emit(
            EventType.ATTEMPT_SCHEDULED,
            now,
            SagaStatus.WAITING if attempt.action is Action.AWAIT else None,
            work.step.running_state if attempt.action in {Action.DO, Action.AWAIT} else None,
            step=work.step.name,
            item=work.item,
            action=attempt.action,
            attempt=attempt.number,
            due_at=attempt.due_at,
        )

    def _emit_postponed(self, work: Work, attempt: Attempt, until: datetime, reason: str, now: datetime) -> None:
        self._emit(
            EventType.ATTEMPT_POSTPONED,
            now,
            step=work.step.name,
            item=work.item,
            action=attempt.action,
            attempt=attempt.number,
            due_at=until,
            reason=reason,
            service=work.service(attempt.action),
        )

    def _emit_failed(
        self,
        answer: Answer,
        now: datetime,
        retry_at: datetime | None,
        status: SagaStatus | None = None,
        actor: str | None = None,
    ) -> None:
        assert not isinstance(answer.outcome, Succeeded)
        facts = {"status": status, "reason": answer.outcome.reason, "due_at": retry_at, "actor": actor}
        self._emit_answer(EventType.ATTEMPT_FAILED, answer, now, **facts)
        if retry_at is not None:
            again = Attempt(action=answer.attempt.action, number=answer.attempt.number + 1, due_at=retry_at)
            self._emit_scheduled(answer.work, again, now)

    def _emit_answer(self, kind: EventType, answer: Answer, now: datetime, **values: Any) -> None:
        facts = answer.facts
        self._emit(
            kind,
            now,
            step=answer.work.step.name,
            item=answer.work.item,
            action=answer.attempt.action,
            attempt=answer.attempt.number,
            service=answer.work.service(answer.attempt.action),
            http_method=facts.method if facts else None,
            http_status=facts.status if facts else None,
            duration=facts.duration if facts else None,
            **{"outcome": answer.outcome.kind, **values},
        )

    def _emit_empty(self, step: Step, now: datetime) -> None:
        """A step that is left out, or over no items, passes through its states with no call."""
        output: list[Any] | None = [] if step.foreach else None
        self._emit(EventType.STEP_SUCCEEDED, now, state=step.running_state, step=step.name, output=output)
        if step.done_state:
            self._emit(EventType.STEP_SUCCEEDED, now, state=step.done_state, step=step.name, output=output)

    def _emit_deadline(self, now: datetime) -> None:
        step = self.definition.steps[self._position]
        reason = "the saga's deadline passed"
        self._emit(EventType.DEADLINE_PASSED, now, state=step.running_state, step=step.name, reason=reason)

    def _emit_step_failed(self, step: Step, failure: Failure, now: datetime) -> None:
        self._emit(
            EventType.STEP_FAILED,
            now,
            state=step.failed_state,
            step=step.name,
            item=failure.item,
            outcome=failure.outcome,
            reason=failure.reason,
        )

    def _emit(
        self, kind: EventType, now: datetime, status: SagaStatus | None = None, state: str | None = None, **facts: Any
    ) -> None:
        event = SagaEvent(
            seq=self.seq + 1,
            type=kind,
            at=now,
            status=status or self.status,
            state=state or self.state,
            previous_state=self.state if self.seq else None,
            **facts,
        )
        self.apply(event)
        self._fresh.append(event)

    def _take(self) -> list[SagaEvent]:
        fresh, self._fresh = self._fresh, []
        return fresh
