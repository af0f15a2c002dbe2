"""Whatever participants answer, whenever drivers crash: a saga ends done, undone or parked, and owes nothing unseen.

Hypothesis draws sound definitions and schedules. A model of the participants keeps their four duties, so that every
effect and every undo is known; drivers crash and are replaced by ones that only know the stored events.
"""

from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.calls import Task
from domain.definition import Await, Publish, Request, RetryPolicy, SagaDefinition, Step
from domain.entities import Saga
from domain.events import NEXT, Action, EventType, SagaEvent, SagaStatus
from domain.exceptions import NotAllowed
from domain.outcomes import Outcome, Rejected, Succeeded, Unavailable, Unknown
from tests.support.dialogue import ANNA, START, origin, step, workflow

CALLS_BOUND = 600
RETRY = RetryPolicy(max_retries=2, base=0.5, cap=2)


class Participants:
    """Services that keep the four duties: idempotent, empty undo, no hanging, honest."""

    def __init__(self) -> None:
        self.effects: set[str] = set()
        self.ever_done: set[str] = set()
        self.barred: set[str] = set()
        self.undone: list[str] = []
        self.requested: set[str] = set()

    def answer(self, task: Task, fate: str) -> Outcome:
        """What happens to one call. `lost` and `late` end unknown: the effect was, or was not, made."""
        do_key = task.key.rpartition(":")[0] + ":do"
        if fate == "refused" and not (task.attempt.action is Action.DO and do_key in self.ever_done):
            return Rejected("no") if task.attempt.action is not Action.INQUIRE else Unknown("404")
        if fate == "busy":
            return Unavailable("busy")
        if fate == "late":
            return Unknown("nothing happened, but who knows")
        outcome = {Action.DO: self._do, Action.UNDO: self._undo, Action.INQUIRE: self._inquire}[task.attempt.action](
            do_key
        )
        return Unknown("the answer was lost") if fate == "lost" else outcome

    def answer_message(self, key: str) -> Outcome:
        return self._do(key)

    def cancel(self, key: str) -> None:
        self._undo(key)

    def _do(self, key: str) -> Outcome:
        self.requested.add(key)
        if key in self.barred:
            return Rejected("undone before")
        self.ever_done.add(key)
        self.effects.add(key)
        return Succeeded({"id": key})

    def _undo(self, key: str) -> Outcome:
        self.barred.add(key)
        if key in self.effects:
            self.effects.remove(key)
            self.undone.append(key)
        return Succeeded()

    def _inquire(self, key: str) -> Outcome:
        if key in self.ever_done:
            return Succeeded({"outcome": "done", "id": key})
        self.barred.add(key)
        return Succeeded({"outcome": "not_done"})


MESSAGES: dict[str, Any] = {
    "publish": Publish(topic="commands", body={"key": "${saga.do_key}"}),
    "awaits": Await(topic="answers", types=("yes", "no"), timeout=5),
    "undo_publish": Publish(topic="commands", body={"undo_of": "${saga.do_key}"}),
    "reject_when": "${response.type == 'no'}",
}


@st.composite
def steps(draw: st.DrawFn, name: str) -> Step:
    kind = draw(st.sampled_from(["safe", "undoable", "undoable", "pivot", "inquired", "message"]))
    options: dict[str, Any] = {"retry": RETRY, "undo_retry": RETRY}
    if kind == "message":
        options |= {"action": None, "compensation": None, **MESSAGES}
    elif draw(st.booleans()):
        options |= {"foreach": "${input.items}", "concurrency": draw(st.integers(1, 3))}
    if draw(st.integers(0, 4)) == 0:
        options["when"] = "${input.go}"
    if draw(st.booleans()):
        options |= {"running_state": f"doing_{name}", "done_state": f"did_{name}", "failed_state": f"failed_{name}"}
    if kind in {"safe", "pivot"}:
        options[kind] = True
    if kind == "inquired":
        undo = Request(service="svc", method="POST", path="/undo", body={"id": f"${{steps.{name}.id}}"})
        options |= {"inquiry": Request(service="svc", method="GET", path="/ask"), "compensation": undo}
        options["output"] = {"id": "${response.id}"}
    return step(name, **options)


@st.composite
def definitions(draw: st.DrawFn) -> SagaDefinition:
    names = "abcd"[: draw(st.integers(1, 4))]
    return workflow(*(draw(steps(name)) for name in names))


FATES = st.sampled_from(["done"] * 6 + ["lost", "late", "busy", "refused"])
ACTS = ("retry", "skip", "compensate", "pause", "resume", "resolve")
OPERATED = st.lists(
    st.tuples(FATES, st.integers(0, 5), st.sampled_from(["go", "go", "go", "die", "wait", *ACTS])), max_size=40
)
MOVES = st.lists(st.tuples(FATES, st.integers(0, 5), st.sampled_from(["go", "go", "go", "crash", "die", "wait"])))


class Run:
    """One saga, driven by drivers that crash as the schedule says. After the schedule everything goes well."""

    def __init__(self, definition: SagaDefinition, items: int, moves: list[tuple[str, int, str]]) -> None:
        self.participants = Participants()
        self.now, self.calls = START, 0
        self.mailbox: list[str] = []
        self.saga, self.stored = Saga.start(
            definition, origin({"items": list(range(items)), "go": items > 1}, deadline=20)
        )
        self.deliver(self.stored)
        for fate, which, mishap in moves:
            self.step(fate, which, mishap)
        while not self.saga.resting:
            self.step("done", 0, "go")

    def step(self, fate: str, which: int, mishap: str) -> None:
        if mishap in ACTS:
            self.act(which, mishap)
        if mishap in ACTS or self.saga.resting:
            return
        self.calls += 1
        assert self.calls < CALLS_BOUND, "the saga spins"
        if mishap == "wait":
            self.now += timedelta(seconds=7)
        self.store(self.saga.expire(self.now))
        if self.saga.status is SagaStatus.WAITING:
            self.message(fate, which, mishap)
            return
        tasks = self.due()
        if not tasks:
            return
        task = tasks[which % len(tasks)]
        if mishap == "die":
            self.replace_driver()
            return
        outcome = self.participants.answer(task, fate)
        if mishap == "crash":
            self.replace_driver()
            return
        self.store(self.saga.record(outcome, self.now, of=task))

    def message(self, fate: str, which: int, mishap: str) -> None:
        """What becomes of the message that the saga waits to be answered; whoever answers keeps the duties too."""
        if mishap in {"crash", "die"}:
            self.saga = self.replayed()
        key = self.mailbox[-1]
        if fate == "done":
            outcome = self.participants.answer_message(key)
            self.store(
                self.saga.signal({"type": "yes" if isinstance(outcome, Succeeded) else "no", "id": key}, self.now)
            )
        elif fate == "refused" and which % 2:
            self.refuse_by_hand(key, before=which == 1)
        elif fate == "refused":
            self.store(self.saga.signal({"type": "no"}, self.now))
        else:  # lost: the answer; late: the message, which comes after the cancellation; busy: the message
            if fate == "lost":
                self.participants.answer_message(key)
            self.now += timedelta(seconds=5)
            self.store(self.saga.expire(self.now))
            if fate == "late":
                self.participants.answer_message(key)
            assert self.saga.signal({"type": "yes", "id": key}, self.now) == []

    def refuse_by_hand(self, key: str, *, before: bool) -> None:
        """A person refuses, who does not know that the participant did it before, or hears of it only afterwards."""
        if before:
            self.participants.answer_message(key)
        self.store(self.saga.signal({"type": "no"}, self.now, by=ANNA))
        self.participants.answer_message(key)
        assert self.saga.signal({"type": "yes", "id": key}, self.now) == []

    def act(self, which: int, verb: str) -> None:
        """A person does something, which may be refused, to the saga as it is stored; its driver may have vanished."""
        if which % 2 and not self.saga.resting:
            self.replace_driver()
        place: tuple[Any, ...] = ()
        told: dict[str, Any] = {}
        if verb == "skip":
            works = [work for step_works in self.saga._works.values() for work in step_works]
            work = works[which % len(works)] if works else None
            undo = self.saga.status is SagaStatus.COMPENSATING or self.saga.held_from is SagaStatus.COMPENSATING
            told = {"action": Action.UNDO} if undo else {"output": {"id": "by hand"}}
            place = (work.step.name, work.item) if work else ("a",)
        if verb == "resolve":
            place = (("completed", "compensated")[which % 2],)
        before = vars_of(self.saga)
        try:
            self.store(getattr(self.saga, verb)(ANNA, self.now, *place, **told))
        except NotAllowed:
            assert vars_of(self.saga) == before
        else:
            assert getattr(self.saga, verb)(ANNA, self.now, *place, **told) == [] or verb == "retry"
            self.saga = self.replayed()

    def due(self) -> list[Task]:
        due_at = self.saga.wake_at()
        if due_at is None:
            return []
        self.now = max(self.now, due_at)
        self.store(self.saga.expire(self.now))
        return self.saga.next_tasks(self.now)

    def store(self, events: list[SagaEvent]) -> None:
        self.stored += events
        self.deliver(events)
        restored = self.replayed()
        assert vars_of(restored) == vars_of(self.saga)

    def deliver(self, events: list[SagaEvent]) -> None:
        """Messages are sent by the checkpoint that stores them; a cancellation is done at once, a command in time."""
        for event in events:
            if event.type is EventType.MESSAGE_PUBLISHED and event.action is Action.DO:
                self.mailbox.append(event.output["body"]["key"])
            elif event.type is EventType.MESSAGE_PUBLISHED:
                self.participants.cancel(event.output["body"]["undo_of"])

    def replace_driver(self) -> None:
        self.saga = self.replayed()
        self.store(self.saga.take_over(self.now))

    def replayed(self) -> Saga:
        return Saga.restore(self.saga.definition, self.saga.origin, self.stored)


def vars_of(saga: Saga) -> dict[str, Any]:
    """All that a saga knows, but the requests that it keeps rendered."""
    known = {name: value for name, value in vars(saga).items() if name not in {"_works", "_pending"}}
    works = [
        (
            work.step.name,
            work.item,
            work.pending,
            work.done,
            work.maybe_done,
            work.undone,
            work.undo_given_up,
            work.inquiry_given_up,
        )
        for step_works in saga._works.values()
        for work in step_works
    ]
    pending = sorted((work.step.name, work.item or 0) for work in saga._pending)
    return {**known, "works": works, "pending": pending}


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(definition=definitions(), items=st.integers(0, 3), moves=MOVES)
def test_any_schedule_ends_done_undone_or_parked(definition, items, moves):
    run = Run(definition, items, moves)
    saga, participants = run.saga, run.participants
    undoable = {step.name for step in definition.steps if step.undoable}
    left = {key for key in participants.effects if _step_of(key) in undoable}
    if saga.status is SagaStatus.COMPLETED:
        assert not participants.undone
        assert len(participants.effects) == sum(_calls(step, items) for step in definition.steps)
    elif saga.status in {SagaStatus.COMPENSATED, SagaStatus.FAILED}:
        assert not left
        assert not any(_step_of(key) in _pivots(definition) for key in participants.effects)
        assert saga.failure is not None
    else:
        assert saga.status is SagaStatus.STUCK
        assert saga.parked_reason
    _check_history(saga, run.stored)
    _check_undo_order(definition, participants.undone)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(definition=definitions(), items=st.integers(0, 3), moves=OPERATED)
def test_whatever_people_do_nothing_is_owed_unseen(definition, items, moves):
    run = Run(definition, items, moves)
    saga, by_hand = run.saga, [event for event in run.stored if event.type in BY_HAND]
    left = {key for key in run.participants.effects if _step_of(key) not in _pivots(definition)}
    undoable = {step.name for step in definition.steps if step.undoable}
    if not by_hand and saga.status is SagaStatus.COMPLETED:
        assert not run.participants.undone
    if not by_hand and saga.status in {SagaStatus.COMPENSATED, SagaStatus.FAILED}:
        assert not {key for key in left if _step_of(key) in undoable}
        assert not any(_step_of(key) in _pivots(definition) for key in run.participants.effects)
    if saga.status is SagaStatus.PAUSED:
        assert run.stored[-1].actor
    assert (saga.parked_reason is not None) == (saga.status is SagaStatus.STUCK)
    assert (saga.failure is not None) or saga.status in {SagaStatus.COMPLETED, SagaStatus.PAUSED}
    for event in run.stored:
        assert event.state in definition.states_by_status()[event.status]


BY_HAND = {EventType.STEP_SKIPPED, EventType.SAGA_RESOLVED}
"""After these the participants' ledgers are the person's business."""


def _check_history(saga: Saga, events: list[SagaEvent]) -> None:
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    possible, moves = saga.definition.states_by_status(), saga.definition.transitions()
    for before, after in pairwise(events):
        assert after.status in NEXT[before.status]
        assert after.state in possible[after.status]
        assert after.state == before.state or (before.state, after.state) in moves
    undone = {(event.step, event.item) for event in events if event.action is Action.UNDO}
    began = {(event.step, event.item) for event in events if event.action is Action.DO}
    assert undone <= began


def _check_undo_order(definition: SagaDefinition, undone: list[str]) -> None:
    names = [step.name for step in definition.steps]
    places = [names.index(_step_of(key)) for key in undone]
    assert places == sorted(places, reverse=True)


def _calls(step: Step, items: int) -> int:
    return 0 if step.when and items <= 1 else items if step.foreach else 1


def _step_of(key: str) -> str:
    return key.split(":")[1].partition("[")[0]


def _pivots(definition: SagaDefinition) -> set[str]:
    return {step.name for step in definition.steps if step.pivot}
