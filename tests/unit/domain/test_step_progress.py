"""How far each step is, as a saga's events tell it."""

import pytest

from domain.definition import Await, Publish
from domain.entities import Saga
from domain.operations import By
from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from domain.step_progress import steps_of
from tests.support.dialogue import START, origin, step, workflow


def begun(*steps, given=None):
    saga, _ = Saga.start(workflow(*steps), origin(given or {}))
    return saga


def told(saga):
    return [(row.place, row.status.value) for row in steps_of(saga)]


def answered(saga, outcome):
    saga.record(outcome, START, of=saga.next_tasks(START)[0])
    return told(saga)


def test_a_step_is_pending_then_running_then_completed_with_its_time():
    saga = begun(step("pay"), step("book"))

    assert told(saga) == [("pay", "RUNNING"), ("book", "PENDING")]
    assert answered(saga, Succeeded({})) == [("pay", "COMPLETED"), ("book", "RUNNING")]
    (paid, _) = steps_of(saga)
    assert (paid.order, paid.attempts, paid.duration, paid.error) == (1, 1, 0.0, None)


def test_what_was_done_is_compensated_and_what_failed_says_why():
    saga = begun(step("pay"), step("book"))
    answered(saga, Succeeded({}))

    assert answered(saga, Rejected("full")) == [("pay", "COMPENSATING"), ("book", "FAILED")]
    assert steps_of(saga)[1].error == "full"
    assert answered(saga, Succeeded({})) == [("pay", "COMPENSATED"), ("book", "FAILED")]
    assert steps_of(saga)[0].compensation_attempts == 1


def test_an_undo_that_was_given_up_is_told_so():
    saga = begun(step("pay"), step("book"))
    for outcome in (Succeeded({}), Rejected("full"), Rejected("closed")):
        answered(saga, outcome)

    assert told(saga) == [("pay", "COMPENSATION_FAILED"), ("book", "FAILED")]


def test_a_repeated_attempt_leaves_the_step_running():
    saga = begun(step("pay"))

    assert answered(saga, Unavailable("busy")) == [("pay", "RUNNING")]
    assert (steps_of(saga)[0].attempts, steps_of(saga)[0].error) == (2, "busy")


def test_a_step_over_items_has_a_row_an_item():
    saga = begun(step("reserve", foreach="${input.lines}", concurrency=2), given={"lines": [1, 2]})

    assert answered(saga, Succeeded({})) == [("reserve[0]", "COMPLETED"), ("reserve[1]", "RUNNING")]


@pytest.mark.parametrize("options", [{"when": "${input.wrap}"}, {"foreach": "${input.lines}"}])
def test_a_step_that_is_left_out_is_not_needed(options):
    saga = begun(step("wrap", **options), step("book"), given={"wrap": False, "lines": []})

    assert told(saga) == [("wrap", "NOT_NEEDED"), ("book", "RUNNING")]


def test_a_step_done_by_a_message_is_running_until_it_is_answered():
    asks = step(
        "ally",
        action=None,
        compensation=None,
        publish=Publish(topic="t", body={"type": "Ask"}),
        awaits=Await(topic="a", types=("said",)),
        undo_publish=Publish(topic="t", body={"type": "Cancel"}),
    )
    saga = begun(asks)

    assert told(saga) == [("ally", "RUNNING")]
    saga.signal({"type": "said"}, START, "a")
    assert told(saga) == [("ally", "COMPLETED")]
    saga.compensate(By(actor="a", reason="b"), START)
    assert told(saga) == [("ally", "COMPENSATED")]


def test_a_step_that_was_taken_as_done_is_completed():
    saga = begun(step("pay"), step("book"))
    answered(saga, Unknown("lost"))
    saga.skip(By(actor="a", reason="b"), START, "pay")

    assert told(saga)[0] == ("pay", "COMPLETED")
