"""The timeline and the requests of a saga: each attempt and undo as a bar to scale, each answer with its request."""

from datetime import timedelta

import pytest

from domain.definition import Await, Publish, Request, RetryPolicy
from domain.outcomes import CallFacts, Rejected, Succeeded, Unavailable, Unknown
from interfaces.console.timeline import THINNEST, WIDTH, timeline
from tests.support.dialogue import Dialogue, step, workflow

PATIENT = RetryPolicy(max_retries=3, base=0.1)


def answered(said, outcome, took):
    """The one call that is due is answered after so many seconds."""
    (task,) = said.tasks()
    said.now += timedelta(seconds=took)
    facts = CallFacts(task.service, task.method, None, took)
    said.events += said.saga.record(outcome, said.now, of=task, facts=facts)


def drawn(said):
    return timeline(said.saga, said.now)


def test_bars_are_to_scale_from_the_start_to_the_end():
    said = Dialogue(workflow(step("a"), step("b")))
    answered(said, Succeeded(None), 1.0)
    answered(said, Succeeded(None), 3.0)

    shown = drawn(said)

    assert shown["seconds"] == 4.0
    assert [(row.place, row.action, row.seconds) for row in shown["rows"]] == [("a", "do", 1.0), ("b", "do", 3.0)]
    assert [(bar["x"], bar["width"]) for row in shown["rows"] for bar in row.bars] == [(0.0, 250.0), (250.0, 750.0)]


def test_every_attempt_and_undo_has_its_bar_and_turning_back_its_mark():
    said = Dialogue(workflow(step("a"), step("b", retry=PATIENT)))
    for outcome in (Succeeded(None), Unavailable("away"), Rejected("no"), Succeeded(None)):
        answered(said, outcome, 1.0)

    shown = drawn(said)

    assert [(row.place, row.action) for row in shown["rows"]] == [("a", "do"), ("b", "do"), ("a", "undo")]
    assert [bar["outcome"] for bar in shown["rows"][1].bars] == ["unavailable", "rejected"]
    assert [mark["event"].type for mark in shown["marks"]] == ["compensation_started"]


def test_what_is_under_way_reaches_to_the_end_of_a_round_scale():
    said = Dialogue(workflow(step("a"), step("b")))
    answered(said, Succeeded(None), 1.0)
    said.now += timedelta(seconds=1)

    shown = drawn(said)
    (bar,) = shown["rows"][1].bars

    assert shown["seconds"] == 2.0
    assert (bar["outcome"], bar["x"], bar["width"], bar["seconds"]) == ("open", 500.0, 500.0, None)


def test_while_nothing_happens_it_is_drawn_anew_only_at_each_round_time():
    said = Dialogue(workflow(step("a"), step("b")))
    answered(said, Succeeded(None), 1.0)

    pictures = []
    for _ in range(1000):
        said.now += timedelta(seconds=1)
        pictures.append(repr(drawn(said)))

    scales = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]
    assert len(set(pictures)) == len(scales)


def test_of_many_items_those_are_drawn_that_were_not_done_and_how_many_more_there_are():
    many = step("a", foreach="${input.lines}", concurrency=30)
    said = Dialogue(workflow(many, step("b")), {"lines": [{}] * 30})
    for task in said.tasks():
        outcome = Rejected("no") if task.item == 20 else Succeeded(None)
        said.events += said.saga.record(outcome, said.now, of=task)

    rows = drawn(said)["rows"]

    assert [row.place for row in rows if row.action == "do"] == [f"a[{item}]" for item in (*range(9), 20)]
    assert [row.more for row in rows] == [0] * 9 + [20] + [0] * (len(rows) - 10)


def test_a_retry_that_is_not_due_yet_has_no_bar():
    said = Dialogue(workflow(step("a", retry=RetryPolicy(max_retries=1, base=100.0, cap=100.0))))
    answered(said, Unavailable("away", retry_after=60.0), 1.0)

    assert [bar["outcome"] for bar in drawn(said)["rows"][0].bars] == ["unavailable"]


def test_a_wait_for_a_message_is_a_bar_from_its_beginning():
    told = Publish(topic="t", body={"x": 1})
    said = Dialogue(workflow(step("a", action=None, publish=told, awaits=Await(types=("y",)))))
    said.later(2.0).hears("y")

    (bar,) = drawn(said)["rows"][-1].bars

    assert (bar["x"], bar["width"], bar["seconds"]) == (0.0, WIDTH, 2.0)


@pytest.mark.parametrize("took", [0.0, 1e-9])
def test_a_bar_can_be_seen_however_short(took):
    said = Dialogue(workflow(step("a"), step("b")))
    answered(said, Succeeded(None), took)
    answered(said, Succeeded(None), 100.0)

    (bar,) = drawn(said)["rows"][0].bars

    assert bar["width"] == THINNEST
    assert 0 <= bar["x"] <= WIDTH - bar["width"]


def test_an_answer_has_the_request_that_it_answers():
    reads = Request(service="svc", method="GET", path="/x/${input.id}", query={"of": "${steps.a.n}"})
    said = Dialogue(workflow(step("a"), step("b", action=reads, inquiry=reads)), {"id": 7})
    answered(said, Succeeded({"n": 3}), 1.0)
    answered(said, Unknown("lost"), 1.0)

    requests = [request for event in said.saga.history if (request := said.saga.asked(event))]

    assert [(request["method"], request["path"], request["query"]) for request in requests] == [
        ("POST", "/a", {}),
        ("GET", "/x/7", {"of": 3}),
    ]


def test_a_request_that_could_not_be_written_down_is_none():
    reads = Request(service="svc", method="GET", path="/x/${steps.a.n}")
    said = Dialogue(workflow(step("a", output="${response}"), step("b", action=reads)))
    answered(said, Succeeded({"other": 1}), 1.0)

    failed = next(event for event in said.saga.history if event.step == "b")

    assert said.saga.asked(failed) is None
