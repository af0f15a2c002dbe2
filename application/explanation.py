"""Why a saga stands where it does, in words for the person who looks at it: what it waits for, whether it moves."""

from datetime import datetime

from application.ports import Seen
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.progress import Waiting

LATE = 5.0
"""Seconds after which work that is due should have been taken up by a worker."""
_VERBS = {Action.DO: "the call", Action.UNDO: "the undo", Action.INQUIRE: "the inquiry"}


def explain(seen: Seen, now: datetime) -> str:
    """One paragraph. Times are UTC."""
    saga = seen.saga
    if saga.finished:
        return _ended(saga)
    if saga.status is SagaStatus.PAUSED:
        return f"{_paused(saga)} Nothing goes out until it is resumed. Then: {_calls(saga, now)}"
    if saga.status is SagaStatus.STUCK:
        return f"Parked: {saga.parked_reason}. {_owed(saga)} A person must retry it, skip the step, or resolve it."
    if saga.status is SagaStatus.WAITING:
        return f"{_calls(saga, now)} It needs no driver until then."
    why = f" {_why(saga)}" if saga.failure else _overdue(saga, now)
    return f"{_calls(saga, now)} {_driver(seen, now)}{why}"


def _ended(saga: Saga) -> str:
    if saga.history[-1].type is EventType.SAGA_RESOLVED:
        return _resolved(saga)
    if saga.status is SagaStatus.COMPLETED:
        return f"Completed in {_took(saga)}: every step is done."
    return f"Ended after {_took(saga)}, {_left(saga)}. {_why(saga)}"


def _resolved(saga: Saga) -> str:
    act, debts = saga.history[-1], saga.debts() if saga.status is not SagaStatus.COMPLETED else []
    left = f" What was owed then was left to people: the undo of {', '.join(debts)}." if debts else ""
    return f"Declared {saga.status} by {act.actor} at {_clock(act.at)}: {act.reason}.{left}"


def _took(saga: Saga) -> str:
    end = saga.finished_at or saga.history[-1].at
    return f"{(end - saga.origin.started_at).total_seconds():.3g} s"


def _left(saga: Saga) -> str:
    return "everything undone" if saga.status is SagaStatus.COMPENSATED else "with nothing to undo"


def _why(saga: Saga) -> str:
    failure = saga.failure
    if failure is None:
        return ""
    return f"It turned back at {failure.place}, {failure.outcome}: {failure.reason}."


def _paused(saga: Saga) -> str:
    by = next((event for event in reversed(saga.history) if event.type is EventType.SAGA_PAUSED), None)
    return f"Paused by {by.actor} at {_clock(by.at)}: {by.reason}." if by else "Paused."


def _owed(saga: Saga) -> str:
    debts = saga.debts()
    return f"Still owed: the undo of {', '.join(debts)}." if debts else "No undo is owed."


def _calls(saga: Saga, now: datetime) -> str:
    calls = [_call(saga, waiting, now) for waiting in saga.waiting()]
    return " ".join(calls) or "It waits for no call."


def _call(saga: Saga, waiting: Waiting, now: datetime) -> str:
    if waiting.action is Action.AWAIT:
        kinds = " or ".join(saga.awaited_types())
        return f"{waiting.place}: it waits for {kinds} on {waiting.service}, until {_clock(waiting.due_at)}."
    attempt = f"attempt {waiting.attempt} of {waiting.budget}"
    due = f"due at {_clock(waiting.due_at)}" if waiting.due_at > now else f"due since {_clock(waiting.due_at)}"
    text = f"{waiting.place}: {_VERBS[waiting.action]} to {waiting.service}, {attempt}, {due}"
    return f"{text}; {_last(last)}." if (last := _last_answer(saga, waiting)) else f"{text}."


def _last_answer(saga: Saga, waiting: Waiting) -> SagaEvent | None:
    kinds = {EventType.ATTEMPT_FAILED, EventType.ATTEMPT_POSTPONED}
    place = (waiting.step, waiting.item, waiting.action)
    return next((e for e in reversed(saga.history) if e.type in kinds and (e.step, e.item, e.action) == place), None)


def _last(event: SagaEvent) -> str:
    if event.type is EventType.ATTEMPT_POSTPONED:
        return f"put off: {event.reason}"
    return f"last answer from {event.service}, {event.outcome}: {event.reason}"


def _overdue(saga: Saga, now: datetime) -> str:
    if saga.status is not SagaStatus.RUNNING or now < saga.deadline_at:
        return ""
    return (
        f" Its deadline passed at {_clock(saga.deadline_at)}: it turns back unless it is past its point of no return."
    )


def _driver(seen: Seen, now: datetime) -> str:
    if seen.driven_until and seen.driven_until > now:
        checkpoint = _clock(seen.saga.history[-1].at)
        return f"{seen.owner} drives it (last checkpoint {checkpoint}, lease until {_clock(seen.driven_until)})."
    if seen.driven_until:
        ended = _clock(seen.driven_until)
        return f"Its driver {seen.owner} vanished; its lease ended at {ended}, and a worker takes it over."
    due_at = seen.saga.wake_at()
    if due_at and (now - due_at).total_seconds() > LATE:
        return "Nobody has taken it up although it is due: is a worker running, and has it free threads?"
    return "A worker takes it up when it is due."


def _clock(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
