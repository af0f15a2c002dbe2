"""Why a saga stands where it does, in words for the person who looks at it: what it waits for, whether it moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from application.ports import Seen
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.progress import Waiting
from domain.sentences import Sentence, joined, said

LATE = 5.0
"""Seconds after which work that is due should have been taken up by a worker."""
_VERBS = {Action.DO: said("the call"), Action.UNDO: said("the undo"), Action.INQUIRE: said("the inquiry")}


def explain(seen: Seen, now: datetime) -> Sentence:
    """One paragraph. Times are UTC."""
    left = unsent(seen)
    but = said("That is so but for what was not sent.") if seen.saga.finished and left and left[0].action else ""
    return joined(_standing(seen, now), but, *(_unsent(each) for each in left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """A message of a saga that no broker would take: a step's, by what it was to do, or word of an event (no `action`).

    `number` is its own in the outbox, for `manage.py saga_outbox`.
    """

    number: int
    step: str | None
    item: int | None
    action: Action | None
    topic: str
    reason: str


def unsent(seen: Seen) -> list[Unsent]:
    """The saga's messages that were put aside, a step's first: those have an effect that is not there."""
    found = []
    for each in seen.unsent:
        event = seen.saga.history[each.seq - 1]
        is_step = event.type is EventType.MESSAGE_PUBLISHED and event.service == each.topic
        found.append(
            Unsent(
                number=each.number,
                step=event.step,
                item=event.item,
                action=event.action if is_step else None,
                topic=each.topic,
                reason=each.reason,
            )
        )
    return sorted(found, key=lambda each: each.action is None)


def _unsent(message: Unsent) -> Sentence:
    place = message.step if message.item is None else f"{message.step}[{message.item}]"
    what = said("word of an event")
    if message.action:
        verb = _VERBS[Action.UNDO] if message.action is Action.UNDO else said("the message")
        what = said("%(call)s of %(place)s", call=verb, place=place)
    retry, drop = (f"manage.py saga_outbox {verb} {message.number}" for verb in ("retry", "drop"))
    return said(
        "NOT SENT: %(what)s to %(topic)s, since no broker takes it: %(reason)s. It stays undone until it is sent "
        "(%(retry)s), or let go when its readers know by other means (%(drop)s --reason ...).",
        what=what,
        topic=message.topic,
        reason=message.reason,
        retry=retry,
        drop=drop,
    )


def _standing(seen: Seen, now: datetime) -> Sentence:
    saga = seen.saga
    if saga.finished:
        return _ended(saga)
    if saga.status is SagaStatus.PAUSED:
        return joined(_paused(saga), said("Nothing goes out until it is resumed. Then:"), _calls(saga, now))
    if saga.status is SagaStatus.STUCK:
        parked = said("Parked: %(reason)s.", reason=saga.parked_reason)
        return joined(
            parked, _last_undo(saga), _owed(saga), said("A person must retry it, skip the step, or resolve it.")
        )
    if saga.status is SagaStatus.WAITING:
        return joined(_calls(saga, now), said("It needs no driver until then."))
    why = _why(saga) if saga.failure else _overdue(saga, now)
    return joined(_calls(saga, now), _driver(seen, now), why)


def _ended(saga: Saga) -> Sentence:
    if saga.history[-1].type is EventType.SAGA_RESOLVED:
        return _resolved(saga)
    if saga.status is SagaStatus.COMPLETED:
        return said("Completed in %(time)s: every step is done.", time=_took(saga))
    return joined(_undone(saga), _why(saga))


def _resolved(saga: Saga) -> Sentence:
    act, debts = saga.history[-1], saga.debts() if saga.status is not SagaStatus.COMPLETED else []
    parts = {"status": saga.status, "actor": act.actor, "time": _clock(act.at), "reason": act.reason}
    left = said("What was owed then was left to people: the undo of %(places)s.", places=", ".join(debts))
    return joined(said("Declared %(status)s by %(actor)s at %(time)s: %(reason)s.", **parts), left if debts else "")


def _took(saga: Saga) -> str:
    end = saga.finished_at or saga.history[-1].at
    return f"{(end - saga.origin.started_at).total_seconds():.3g} s"


def _undone(saga: Saga) -> Sentence:
    if saga.status is SagaStatus.COMPENSATED:
        return said("Ended after %(time)s, everything undone.", time=_took(saga))
    return said("Ended after %(time)s, with nothing to undo.", time=_took(saga))


def _why(saga: Saga) -> str:
    failure = saga.failure
    if failure is None:
        return ""
    parts = {"place": failure.place, "outcome": said(failure.outcome), "reason": failure.reason}
    return said("It turned back at %(place)s, %(outcome)s: %(reason)s.", **parts)


def _paused(saga: Saga) -> Sentence:
    by = next((event for event in reversed(saga.history) if event.type is EventType.SAGA_PAUSED), None)
    if by is None:
        return said("Paused.")
    parts = {"actor": by.actor, "time": _clock(by.at), "reason": by.reason}
    return said("Paused by %(actor)s at %(time)s: %(reason)s.", **parts)


def _last_undo(saga: Saga) -> Sentence | str:
    """What the participant said when it was last asked to undo what is owed."""
    for event in reversed(saga.history if saga.debts() else []):
        if event.type is EventType.ATTEMPT_FAILED and event.action is Action.UNDO and event.reason:
            return said("The last answer to an undo: %(reason)s.", reason=event.reason.rstrip("."))
    return ""


def _owed(saga: Saga) -> Sentence:
    debts = saga.debts()
    return said("Still owed: the undo of %(places)s.", places=", ".join(debts)) if debts else said("No undo is owed.")


def _calls(saga: Saga, now: datetime) -> Sentence:
    calls = [_call(saga, waiting, now) for waiting in saga.waiting()]
    return joined(*calls) if calls else said("It waits for no call.")


def _call(saga: Saga, waiting: Waiting, now: datetime) -> Sentence:
    at = _clock(waiting.due_at)
    where: dict[str, object] = {"place": waiting.place, "service": waiting.service}
    if waiting.action is Action.AWAIT:
        kinds = _either(saga.awaited_types())
        return said("%(place)s: it waits for %(types)s on %(service)s, until %(time)s.", **where, types=kinds, time=at)
    due = said("due at %(time)s", time=at) if waiting.due_at > now else said("due since %(time)s", time=at)
    parts = {**where, "call": _VERBS[waiting.action], "number": waiting.attempt, "most": waiting.budget, "due": due}
    last = _last_answer(saga, waiting)
    if last is None:
        return said("%(place)s: %(call)s to %(service)s, attempt %(number)s of %(most)s, %(due)s.", **parts)
    return said(
        "%(place)s: %(call)s to %(service)s, attempt %(number)s of %(most)s, %(due)s; %(last)s.",
        **parts,
        last=_last(last),
    )


def _either(words: Sequence[str]) -> str:
    *others, last = words
    return said("%(words)s or %(last)s", words=", ".join(others), last=last) if others else last


def _last_answer(saga: Saga, waiting: Waiting) -> SagaEvent | None:
    kinds = {EventType.ATTEMPT_FAILED, EventType.ATTEMPT_POSTPONED}
    place = (waiting.step, waiting.item, waiting.action)
    return next((e for e in reversed(saga.history) if e.type in kinds and (e.step, e.item, e.action) == place), None)


def _last(event: SagaEvent) -> Sentence:
    if event.type is EventType.ATTEMPT_POSTPONED:
        return said("put off: %(reason)s", reason=event.reason)
    parts = {"service": event.service, "outcome": said(str(event.outcome)), "reason": event.reason}
    return said("last answer from %(service)s, %(outcome)s: %(reason)s", **parts)


def _overdue(saga: Saga, now: datetime) -> str:
    if saga.status is not SagaStatus.RUNNING or now < saga.deadline_at:
        return ""
    return said(
        "Its deadline passed at %(time)s: it turns back unless it is past its point of no return.",
        time=_clock(saga.deadline_at),
    )


def _driver(seen: Seen, now: datetime) -> Sentence:
    if seen.driven_until and seen.driven_until > now:
        return said(
            "%(driver)s drives it (last checkpoint %(checkpoint)s, lease until %(lease)s).",
            driver=seen.owner,
            checkpoint=_clock(seen.saga.history[-1].at),
            lease=_clock(seen.driven_until),
        )
    if seen.driven_until:
        return said(
            "Its driver %(driver)s vanished; its lease ended at %(lease)s, and a worker takes it over.",
            driver=seen.owner,
            lease=_clock(seen.driven_until),
        )
    due_at = seen.saga.wake_at()
    if due_at and (now - due_at).total_seconds() > LATE:
        return said("Nobody has taken it up although it is due: is a worker running, and has it free threads?")
    return said("A worker takes it up when it is due.")


def _clock(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
