"""A saga that is to fail says so in its correlation id, and only its own calls are meddled with."""

from dataclasses import replace

import pytest

from application.fault_scenario import OUTCOMES, FaultScenario, scenario_of
from domain.entities import Saga
from domain.outcomes import CallFacts, Postponed, Rejected, Reply, Succeeded, Unavailable, Unknown
from infrastructure.fault_injection import SLOWLY, FaultInjection
from tests.support.dialogue import START, origin, step, workflow


class Participants:
    def __init__(self, outcome=None):
        self.outcome, self.calls, self.together = outcome or Succeeded({}), [], 0

    def call(self, task):
        self.calls.append(task)
        return Reply(self.outcome, CallFacts("svc", "POST", 200, 0.1))

    def call_all(self, tasks):
        self.together += 1
        for task in tasks:
            yield task, self.call(task)


def task_of(mark="", **options):
    definition = workflow(step("pay"), step("book", foreach="${input.lines}", concurrency=3))
    saga, _ = Saga.start(definition, replace(origin({"lines": [1, 2, 3]}), correlation_id=f"c-1{mark}"))
    (task,) = saga.next_tasks(START)
    return task


@pytest.mark.parametrize("step_name", [None, "PROCESS_PAYMENT"])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("slow", [True, False])
def test_a_scenario_survives_the_correlation_id(step_name, outcome, slow):
    scenario = FaultScenario(step_name, outcome if step_name else "rejected", slow)

    assert scenario_of(f"till-7:42{scenario.mark()}") == scenario


@pytest.mark.parametrize(
    "correlation_id",
    ["", "till-7", "a:fail=", "a:fail=PAY:x", "a:fail=PAY=never", "fail=PAY", "a:slower"],
)
def test_an_id_that_says_nothing_orders_nothing(correlation_id):
    assert scenario_of(correlation_id) == FaultScenario()


@pytest.mark.parametrize(
    ("mark", "kind", "sent"),
    [("", Succeeded, 1), (":fail=pay", Rejected, 0), (":fail=pay=unavailable", Unavailable, 0),
     (":fail=pay=unknown", Unknown, 1), (":fail=book", Succeeded, 1)],
)  # fmt: skip
def test_a_call_ends_as_it_was_ordered_to(mark, kind, sent):
    participants = Participants()

    reply = FaultInjection(participants).call(task_of(mark))

    assert (type(reply.outcome), len(participants.calls)) == (kind, sent)


def test_an_undo_always_goes_through():
    task = task_of(":fail=pay")
    undo = replace(task, attempt=replace(task.attempt, action="undo"))

    assert FaultInjection(Participants()).call(undo).outcome == Succeeded({})


def test_a_call_that_was_put_off_was_not_made_and_has_no_answer_to_lose():
    put_off = Postponed("circuit open", 5.0)

    assert FaultInjection(Participants(put_off)).call(task_of(":fail=pay=unknown")).outcome == put_off


def test_a_saga_that_is_watched_is_slow_and_no_other():
    slept = []
    participants = FaultInjection(Participants(), slept.append)
    participants.call(task_of())
    participants.call(task_of(":slow"))

    assert slept == [SLOWLY]


def test_calls_at_once_stay_at_once_where_nothing_was_ordered():
    inner = Participants()
    participants = FaultInjection(inner)

    assert len(list(participants.call_all([task_of()] * 3))) == 3
    replies = [reply.outcome for _, reply in participants.call_all([task_of(":fail=pay")] * 2)]

    assert (inner.together, {type(outcome) for outcome in replies}) == (1, {Rejected})
