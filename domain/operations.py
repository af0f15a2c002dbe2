"""What a person may do to a saga, when, and what follows: retry, skip, compensate, pause, resume, resolve.

Each is an event with the actor and the reason. Done again while its effect stands, it changes nothing and gives no
event; what the saga's status does not allow is refused with NotAllowed, which says what would help.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from domain.calls import Work
from domain.decisions import Deciding
from domain.events import FINISHED, FORWARD, HELD, Action, EventType, SagaEvent, SagaStatus
from domain.exceptions import NotAllowed
from domain.sentences import Sentence, joined, said

MOVING = frozenset({SagaStatus.RUNNING, SagaStatus.COMPENSATING})


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who acts, and why."""

    actor: str
    reason: str


class Operated(Deciding):
    """The operator's verbs."""

    def retry(self, by: By, now: datetime) -> list[SagaEvent]:
        """Try again now: what waits is due at once, and what was given up has a full budget again."""
        if self.status in FINISHED | {SagaStatus.PAUSED, SagaStatus.WAITING}:
            if self._last_act() is EventType.RETRY_REQUESTED:
                return []  # it went on at once
            raise NotAllowed(joined(said("A %(status)s saga has nothing to retry.", status=self.status), self._hint()))
        forward = self.status is SagaStatus.RUNNING and not self.failure
        overdue = forward and self._overdue(now)  # it would turn back unless it gets its time again
        all_due = all(work.pending and work.pending.due_at <= now for work in self._pending)
        if self.status in MOVING and all_due and not overdue:
            return []
        status = self.held_from if self.status is SagaStatus.STUCK else self.status
        self._emit_act(EventType.RETRY_REQUESTED, by, now, status, due_at=self._new_deadline(now, status))
        self._continue(now)
        return self._take()

    def skip(
        self,
        by: By,
        now: datetime,
        step: str,
        item: int | None = None,
        *,
        output: Any = None,
        action: Action = Action.DO,
    ) -> list[SagaEvent]:
        """Take the step at which the saga stands as done, or with `undo` its undo: it was settled by hand.

        `item` counts from 0, for a foreach step. `output` is what later steps read as `${steps.<step>}`; refused
        when it lacks something that they need. Which of the two is meant is said, never guessed from the way the saga
        goes: it may have turned back since the person looked.
        """
        work = self._skippable(step, item)
        if self._skipped(work, action):
            return []
        if self.status in FINISHED:
            raise NotAllowed(joined(said("A %(status)s saga has nothing to skip.", status=self.status), self._hint()))
        undoing = self._direction() is SagaStatus.COMPENSATING
        if undoing and action is Action.DO:
            raise NotAllowed(said("The saga is undoing. To take an undo as done, say so: action 'undo'."))
        if action is Action.UNDO and not undoing:
            raise NotAllowed(said("The saga goes forward: there is no undo to skip."))
        if action is Action.UNDO:
            if output is not None:
                raise NotAllowed(said("An undo has no output."))
            self._skip_undo(work, by, now)
        else:
            self._skip_do(work, by, now, output)
        if not self.resting:
            self._continue(now)
        return self._take()

    @property
    def turned_back(self) -> bool:
        """Whether it undoes, has undone, or will: `compensate` would change nothing, whoever drives it."""
        undoing = {SagaStatus.COMPENSATING, SagaStatus.COMPENSATED, SagaStatus.FAILED}
        return self.status in undoing or (self.status in FORWARD and self.failure is not None)

    def compensate(self, by: By, now: datetime) -> list[SagaEvent]:
        """Turn back and undo what was done, in reverse order; also a completed saga, unless it passed a pivot."""
        if self.turned_back:
            return []
        if self._direction() is SagaStatus.COMPENSATING:
            raise NotAllowed(joined(said("The saga is undoing already."), self._hint()))
        pivot = next((work.step.name for work in self._all_work_reversed() if work.step.pivot and work.done), None)
        if pivot or self._past_pivot(now):
            place = f" ({pivot})" if pivot else ""
            raise NotAllowed(said("The saga is past its point of no return%(place)s: only forward.", place=place))
        step = self.definition.steps[min(self._position, len(self.definition.steps) - 1)]
        if self.status is SagaStatus.COMPLETED:
            if not any(work.owes_undo for work in self._all_work_reversed()):
                raise NotAllowed(said("No step of this saga can be undone."))
            status, state = SagaStatus.COMPENSATING, self.definition.compensating_state
            self._emit_act(EventType.COMPENSATION_REQUESTED, by, now, status, state=state, step=step.name)
        else:
            status, running = SagaStatus.RUNNING, step.running_state
            self._emit_act(EventType.COMPENSATION_REQUESTED, by, now, status, state=running, step=step.name)
        self._continue(now)
        return self._take()

    def pause(self, by: By, now: datetime) -> list[SagaEvent]:
        """Hold the saga: nothing goes out until it is resumed."""
        if self.status is SagaStatus.PAUSED:
            return []
        if self.resting:
            raise NotAllowed(said("A %(status)s saga does nothing that could be paused.", status=self.status))
        self._emit_act(EventType.SAGA_PAUSED, by, now, SagaStatus.PAUSED)
        return self._take()

    def resume(self, by: By, now: datetime) -> list[SagaEvent]:
        """Let a paused saga go on where it was; one that goes forward has its full time again."""
        if self.status is not SagaStatus.PAUSED:
            if self._last_act() is EventType.SAGA_RESUMED and self.status not in HELD:
                return []
            raise NotAllowed(joined(said("The saga is %(status)s, not PAUSED.", status=self.status), self._hint()))
        # What it waited for may have been skipped meanwhile.
        skipped = self.held_from is SagaStatus.WAITING and not self._pending
        status = SagaStatus.RUNNING if skipped else self.held_from
        self._emit_act(EventType.SAGA_RESUMED, by, now, status, due_at=self._new_deadline(now, status))
        self._continue(now)
        return self._take()

    def resolve(self, by: By, now: datetime, end: Literal["completed", "compensated"]) -> list[SagaEvent]:
        """Declare a parked or paused saga settled by hand, one way or the other: nothing goes out any more."""
        status = SagaStatus(end.upper())
        if self.status is status and self.history[-1].type is EventType.SAGA_RESOLVED:
            return []
        if self.status not in HELD:
            text = said("Only a parked or paused saga can be resolved; this one is %(status)s.", status=self.status)
            raise NotAllowed(text)
        whole = self.definition
        state = whole.completed_state if status is SagaStatus.COMPLETED else whole.compensated_state
        step = whole.steps[min(self._position, len(whole.steps) - 1)]
        self._emit_act(EventType.SAGA_RESOLVED, by, now, status, state=state, step=step.name)
        return self._take()

    # --- one step ----------------------------------------------------------------------------------------------

    def _skippable(self, step: str, item: int | None) -> Work:
        if step not in self._steps:
            known = ", ".join(self._steps)
            raise NotAllowed(said("There is no step %(step)r; there is %(known)s.", step=step, known=known))
        works = self._works.get(step, [])
        if not works:
            standing = self._standing()
            raise NotAllowed(
                said("The saga has not come to %(step)s yet; it stands at %(standing)s.", step=step, standing=standing)
            )
        if item is None and len(works) == 1:
            return works[0]
        if item is None or not 0 <= item < len(works):
            raise NotAllowed(said("%(step)s has %(n)s items: say which `item`, from 0.", step=step, n=len(works)))
        return works[item]

    def _skipped(self, work: Work, action: Action) -> bool:
        """Whether somebody has skipped just this, and it stands."""
        stands = work.undone if action is Action.UNDO else work.done
        return stands and any(
            (event.type, event.step, event.item, event.action)
            == (EventType.STEP_SKIPPED, work.step.name, work.item, action)
            for event in self.history
        )

    def _direction(self) -> SagaStatus | None:
        """RUNNING or COMPENSATING, also while the saga is held."""
        return self.held_from if self.status in HELD else self.status

    def _skip_do(self, work: Work, by: By, now: datetime, output: Any) -> None:
        at_hand = work.pending is not None or work.step.name == (self.failure.step if self.failure else None)
        if work.done or not at_hand:
            where = {"place": work.place, "standing": self._standing()}
            raise NotAllowed(said("%(place)s is not what the saga waits for; it stands at %(standing)s.", **where))
        self._check_output(work, output)
        status = SagaStatus.PAUSED if self.status is SagaStatus.PAUSED else SagaStatus.RUNNING
        self._emit_act(
            EventType.STEP_SKIPPED,
            by,
            now,
            status,
            state=self._state_after(work),
            step=work.step.name,
            item=work.item,
            action=Action.DO,
            output=output,
            due_at=self._new_deadline(now, status),
        )

    def _skip_undo(self, work: Work, by: By, now: datetime) -> None:
        if not work.owes_undo:
            raise NotAllowed(said("%(place)s owes no undo; %(owed)s.", place=work.place, owed=self._owed()))
        status = SagaStatus.PAUSED if self.status is SagaStatus.PAUSED else SagaStatus.COMPENSATING
        self._emit_act(EventType.STEP_SKIPPED, by, now, status, step=work.step.name, item=work.item, action=Action.UNDO)

    def _check_output(self, work: Work, output: Any) -> None:
        """A later call that cannot be written down would fail the saga: better to say so now."""
        for path in sorted(self.definition.needed_from(work.step)):
            value = output
            for name in path:
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is None:
                raise NotAllowed(
                    said(
                        "Later calls need %(wanted)s of %(step)s: give it in `output`, as the step's own output "
                        "would have it.",
                        wanted=".".join(path) or said("it"),
                        step=work.step.name,
                    )
                )

    # --- words ---------------------------------------------------------------------------------------------------

    def _last_act(self) -> EventType | None:
        return next((event.type for event in reversed(self.history) if event.type in _ACTS), None)

    def _standing(self) -> str:
        if self._pending:
            return ", ".join(work.place for work in self._pending)
        return self.failure.step if self.failure else said("no step")

    def _owed(self) -> Sentence:
        debts = self.debts()
        return said("owed are %(places)s", places=", ".join(debts)) if debts else said("nothing is owed")

    def _hint(self) -> str:
        hints = {
            SagaStatus.PAUSED: said("Resume it first."),
            SagaStatus.WAITING: said("It waits for a message: send it, skip the step, or compensate."),
            SagaStatus.STUCK: said("Retry it, skip the step, or resolve it."),
            SagaStatus.COMPLETED: said("It can be compensated."),
        }
        return hints.get(self.status, "")

    def _new_deadline(self, now: datetime, status: SagaStatus | None) -> datetime | None:
        """A person's word to go forward comes with the time that a new saga has."""
        forward = status is not SagaStatus.COMPENSATING
        return now + (self.origin.deadline_at - self.origin.started_at) if forward else None

    def _emit_act(self, kind: EventType, by: By, now: datetime, status: SagaStatus | None, **facts: Any) -> None:
        self._emit(kind, now, status, actor=by.actor, reason=by.reason, **facts)


_ACTS = frozenset(
    {
        EventType.RETRY_REQUESTED,
        EventType.STEP_SKIPPED,
        EventType.COMPENSATION_REQUESTED,
        EventType.SAGA_PAUSED,
        EventType.SAGA_RESUMED,
        EventType.SAGA_RESOLVED,
    }
)
"""The events of a person's doing."""
