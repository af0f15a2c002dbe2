"""A driver dies at every possible moment; another goes on. Each effect once, none forgotten."""

from contextlib import suppress
from itertools import count

import pytest

from application.recovery import claim_due, drive
from domain.calls import Task
from domain.definition import Request
from domain.entities import MOST_TAKEOVERS
from domain.events import EventType
from domain.outcomes import Postponed, Rejected, Unavailable
from tests.support.dialogue import step, workflow
from tests.support.driving import Bench, Crash

THREE_STEPS = workflow(step("a"), step("read", safe=True), step("b"), step("c"))


def crash_at(bench: Bench, moment: str, number: int) -> None:
    """Let the process die around the call, or the checkpoint, of this number (from 1)."""
    counter = count(1)

    def die() -> None:
        if next(counter) == number:
            raise Crash

    if moment == "before the call":
        scripted = bench.services.script
        bench.services.script = lambda task: (die(), scripted(task))[1]
    elif moment == "after the call":
        bench.services.after = lambda _: die()
    else:
        stored = bench.store.checkpoint
        bench.store.checkpoint = lambda *arguments: (stored(*arguments), die())[0]


def run_with_crash(refuse: str | None, moment: str, number: int) -> Bench:
    bench = Bench(THREE_STEPS, saga_timeout=300)
    if refuse:
        bench.services.script = lambda task: Rejected("no") if task.key.endswith(f":{refuse}:do") else None
    crash_at(bench, moment, number)
    try:
        bench.start()
    except Crash:
        bench.clock.sleep(31)
    return bench


@pytest.mark.parametrize("moment", ["before the call", "after the call", "after the checkpoint"])
@pytest.mark.parametrize("number", range(1, 5))
def test_an_order_goes_through_although_its_driver_dies(moment, number):
    bench = run_with_crash(None, moment, number)
    assert bench.work_until_rest().status == "COMPLETED"
    assert bench.services.left == ["a", "read", "b", "c"]
    assert len(bench.services.effects) == len(set(bench.services.effects)) == 4


@pytest.mark.parametrize("moment", ["before the call", "after the call", "after the checkpoint"])
@pytest.mark.parametrize("number", range(1, 7))
def test_an_order_is_undone_whole_although_its_driver_dies(moment, number):
    bench = run_with_crash("c", moment, number)
    assert bench.work_until_rest().status == "COMPENSATED"
    assert bench.services.left == ["read"]
    undone = [key.split(":")[1] for key in bench.services.undone]
    assert undone == ["b", "a"]


@pytest.mark.parametrize("number", range(1, 5))
def test_an_effect_is_not_forgotten_when_the_repeat_after_a_crash_is_told_busy(number):
    bench = run_with_crash(None, "after the call", number)
    bench.services.script = lambda task: Unavailable("busy") if task.attempt.action == "do" else None
    assert bench.work_until_rest().status in {"COMPENSATED", "FAILED"}
    assert [key for key in bench.services.left if key != "read"] == []


def test_a_deadline_that_passes_while_nobody_drives_turns_the_saga_back():
    bench = Bench(THREE_STEPS, saga_timeout=20)
    crash_at(bench, "after the call", 3)
    with pytest.raises(Crash):
        bench.start()
    bench.clock.sleep(31)
    saga = bench.work_until_rest()
    assert (saga.status, saga.failure.outcome) == ("COMPENSATED", "deadline")
    assert bench.services.left == ["read"]


def test_a_driver_that_comes_back_after_its_lease_writes_nothing():
    bench = Bench(THREE_STEPS, saga_timeout=300)
    saga_before = []

    def stall(task: Task) -> None:
        bench.services.after = lambda _: None
        bench.clock.sleep(31)
        bench.work()
        saga_before.append(bench.store.load(task.saga_id).history)

    bench.services.after = stall
    saga = bench.start(wait=100)
    assert saga.status == "COMPLETED"
    assert bench.store.load(saga.id).history == saga_before[0]
    assert len(bench.services.effects) == 4


def test_a_worker_whose_saga_is_taken_by_another_stops_without_an_error():
    bench = Bench(THREE_STEPS)
    bench.start(wait=0)
    first, [claimed] = claim_due(bench.engine, 1)
    bench.clock.sleep(31)
    assert bench.work() == 1
    assert drive(bench.engine, claimed, first) is False


def test_the_history_tells_that_a_driver_vanished_and_who_went_on():
    bench = run_with_crash(None, "after the call", 1)
    saga = bench.work_until_rest()
    assert [event.actor for event in saga.history if event.type is EventType.DRIVER_REPLACED] == ["request"]


def test_a_saga_that_was_given_up_in_order_is_not_taken_for_abandoned():
    bench = Bench(THREE_STEPS)
    answers = iter([Unavailable("busy", retry_after=8)])
    bench.services.script = lambda _: next(answers, None)
    bench.start()
    saga = bench.work_until_rest()
    assert EventType.DRIVER_REPLACED not in {event.type for event in saga.history}


class TestAParticipantThatShouldNotBeCalled:
    """The scheduler's part of breaker and bulkhead: due work waits, at no cost, and holds no thread."""

    def test_frees_the_request_and_uses_up_no_attempt(self):
        bench = Bench(workflow(step("a"), step("b")), max_retries=0)
        bench.services.script = lambda task: Postponed("b is busy", 1.0) if task.step == "b" else None
        saga = bench.start()
        assert saga.status == "RUNNING"
        assert bench.clock.slept == []
        bench.services.script = lambda _: None
        assert bench.work_until_rest().status == "COMPLETED"

    def test_is_waited_for_until_the_deadline_and_then_undone(self):
        bench = Bench(workflow(step("a"), step("b")), max_retries=0)
        bench.services.script = lambda task: Postponed("b is busy", 1.0) if task.step == "b" else None
        bench.start()
        assert bench.work_until_rest().status == "COMPENSATED"
        assert bench.services.left == []


def test_a_worker_that_stops_hands_back_what_it_drives():
    bench = Bench(workflow(step("a"), step("b"), step("c")))
    bench.start(wait=0)
    lease, [claimed] = claim_due(bench.engine, 1)
    assert drive(bench.engine, claimed, lease, stopping=lambda: True)
    assert [task.step for task in bench.services.calls] == ["a"]
    assert bench.work_until_rest().status == "COMPLETED"
    assert [task.step for task in bench.services.calls] == ["a", "b", "c"]


def test_a_saga_that_fells_every_driver_is_parked():
    bench = Bench(workflow(step("a")))

    def felled(task: Task) -> None:
        raise Crash

    bench.services.after = felled
    with pytest.raises(Crash):
        bench.start()
    for _ in range(MOST_TAKEOVERS + 1):  # the deadline passes on the way: then it is the undo that fells them
        bench.clock.sleep(100)
        with suppress(Crash):
            bench.work()
    [saga] = [row.saga() for row in bench.store.rows.values()]
    assert saga.status == "STUCK"
    assert "10 drivers in a row vanished" in saga.parked_reason


@pytest.mark.parametrize("wait", [25.0, 0.0], ids=["its client's", "a worker"])
def test_a_driver_owns_a_saga_for_as_long_as_a_call_of_its_workflow_may_take(wait):
    """Also of a workflow that was published after the process had started, whose leases are those of shorter calls."""
    slow = Request(service="svc", method="POST", path="/a", timeout=25.0)
    bench = Bench(workflow(step("a", action=slow), step("b")), saga_timeout=300)
    stolen = []

    def another_looks(task: Task) -> None:
        bench.clock.sleep(25)
        stolen.append(bench.store.claim(bench.engine.new_lease(bench.clock.now()), bench.clock.now(), 10))

    bench.services.after = another_looks
    bench.start(wait=wait)

    assert bench.work_until_rest().status == "COMPLETED"
    assert stolen == [[], []]
    assert len(bench.services.calls) == 2
