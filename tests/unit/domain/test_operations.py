"""What a person may do to a saga: each verb as a dialogue, its refusals, its repetition, and its preview."""

from datetime import timedelta

import pytest

from domain.definition import Request, RetryPolicy, Step
from domain.entities import Saga
from domain.events import Action, EventType
from domain.outcomes import Postponed, Rejected, Succeeded, Unavailable, Unknown
from tests.support.dialogue import ANNA, START, Dialogue, step, workflow

A, B, C = "POST svc /a", "POST svc /b", "POST svc /c"
UNDO_A, UNDO_B = "POST svc /a/undo", "POST svc /b/undo"
NEVER = RetryPolicy(max_retries=0)
ONCE = RetryPolicy(max_retries=1)
ASK = "GET svc /a/outcome"
INQUIRED = {
    "inquiry": Request(service="svc", method="GET", path="/a/outcome"),
    "compensation": Request(service="svc", method="DELETE", path="/a/${steps.a.id}"),
    "output": {"id": "${response.id}"},
    "retry": NEVER,
    "undo_retry": NEVER,
}


def stuck_undo(policy: RetryPolicy = NEVER) -> Dialogue:
    """a is done, b failed, and the undo of a was given up."""
    dialogue = Dialogue(workflow(step("a", undo_retry=policy), step("b"))).ok().given(Rejected("no"))
    for _ in range((policy.max_retries or 0) + 1):
        dialogue.expect(UNDO_A).given(Unavailable("down"))
    return dialogue.ends("STUCK", "undoing")


def stuck_past_pivot() -> Dialogue:
    """The pivot is passed, and what comes after it does not work."""
    dialogue = Dialogue(workflow(step("a", pivot=True), step("b", retry=NEVER), step("c")))
    return dialogue.ok().expect(B).given(Unavailable("down")).ends("STUCK", "begun")


def stuck_inquiry() -> Dialogue:
    """a may have been done, and nobody says."""
    dialogue = Dialogue(workflow(step("a", **INQUIRED), step("b"))).given(Unknown("?"))
    return dialogue.expect(ASK).given(Unavailable("down")).ends("STUCK", "begun")


def waiting() -> Dialogue:
    """a is done, and b waits for its next attempt."""
    dialogue = Dialogue(workflow(step("a"), step("b"))).ok().expect(B).given(Unavailable("busy", retry_after=20))
    assert dialogue.saga.wake_at() == START + timedelta(seconds=20)
    return dialogue


class TestRetry:
    def test_makes_a_waiting_call_due_now(self):
        dialogue = waiting().act("retry")
        assert dialogue.saga.wake_at() == START
        dialogue.expect(B).ok().ends("COMPLETED", "done")

    def test_gives_an_undo_that_was_given_up_its_whole_budget_again(self):
        dialogue = stuck_undo(ONCE).act("retry")
        dialogue.expect(UNDO_A).given(Unavailable("down")).expect(UNDO_A).ok().ends("COMPENSATED", "undone")
        assert set(dialogue.keys[-4:]) == {"a:undo"}

    def test_past_the_point_of_no_return_goes_forward(self):
        stuck_past_pivot().act("retry").expect(B).ok().expect(C).ok().ends("COMPLETED", "done")

    def test_asks_again_what_was_not_answered(self):
        dialogue = stuck_inquiry().act("retry").expect(ASK).ok({"outcome": "done", "id": 7})
        dialogue.expect(B).ok().ends("COMPLETED", "done")

    def test_of_a_forward_saga_comes_with_its_full_time(self):
        dialogue = stuck_past_pivot().later(3600).act("retry")
        assert dialogue.tasks()[0].deadline == START + timedelta(seconds=3630)

    def test_again_changes_nothing_while_the_call_is_due(self):
        dialogue = stuck_undo().act("retry")
        seq = dialogue.saga.seq
        assert dialogue.act("retry").saga.seq == seq

    def test_of_an_overdue_saga_gives_it_its_time_again(self):
        dialogue = waiting().later(60).act("retry").expire().expect(B)
        assert dialogue.ok().saga.status == "COMPLETED"

    def test_of_what_has_ended_is_refused(self):
        assert "COMPLETED" in Dialogue(workflow(step("a"))).ok().refused("retry")


class TestSkip:
    def test_takes_the_step_as_done_with_the_output_given(self):
        body = {"of": "${steps.b.id}"}
        later = step("c", action=Request(service="svc", method="POST", path="/c", body=body))
        dialogue = Dialogue(workflow(step("a"), step("b", done_state="b_done"), later))
        dialogue.ok().expect(B).given(Unavailable("busy", retry_after=20))
        assert "need id of b" in dialogue.refused("skip", "b")
        assert "need id of b" in dialogue.refused("skip", "b", output={"name": "x"})
        dialogue.act("skip", "b", output={"id": 7})
        assert dialogue.saga.state == "b_done"
        assert dialogue.expect(C).tasks()[0].body == {"of": 7}

    def test_of_a_step_is_undone_like_any_other_later(self):
        dialogue = Dialogue(workflow(step("a"), step("b"))).given(Unavailable("busy", retry_after=20))
        dialogue.act("skip", "a").expect(B).given(Rejected("no")).expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_of_one_item_leaves_the_others(self):
        definition = workflow(step("a", foreach="${input.items}", concurrency=2), step("b"))
        dialogue = Dialogue(definition, {"items": [1, 2]}).given(Unavailable("busy", retry_after=9), at=1)
        assert "say which `item`" in dialogue.refused("skip", "a")
        dialogue.act("skip", "a", item=1).expect(A).ok().expect(B)

    def test_of_an_undo_takes_it_as_settled_by_hand(self):
        stuck_undo().act("skip", "a", action=Action.UNDO).ends("COMPENSATED", "undone")

    def test_past_the_point_of_no_return_goes_forward(self):
        stuck_past_pivot().act("skip", "b").expect(C).ok().ends("COMPLETED", "done")

    def test_of_an_unanswered_inquiry_says_that_it_was_done(self):
        dialogue = stuck_inquiry()
        assert "need id of a" in dialogue.refused("skip", "a")
        dialogue.act("skip", "a", output={"id": 7}).expect(B).given(Rejected("no")).expect("DELETE svc /a/7")

    def test_again_changes_nothing(self):
        for dialogue, name, action in ((stuck_past_pivot(), "b", Action.DO), (stuck_undo(), "a", Action.UNDO)):
            seq = dialogue.act("skip", name, action=action).saga.seq
            assert dialogue.act("skip", name, action=action).saga.seq == seq

    def test_of_a_do_stands_when_the_saga_has_turned_back_meanwhile(self):
        dialogue = waiting().later(60).expire()
        assert "To take an undo as done, say so" in dialogue.refused("skip", "b", output={"id": 1})
        dialogue = Dialogue(workflow(step("a"), step("b"))).given(Unavailable("busy", retry_after=20))
        dialogue.act("skip", "a").expect(B).given(Rejected("no"))
        seq = dialogue.saga.seq
        assert dialogue.act("skip", "a").saga.seq == seq, "the undo of a is still owed"
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_of_an_undo_is_said(self):
        assert "there is no undo to skip" in waiting().refused("skip", "b", action=Action.UNDO)
        assert "no output" in stuck_undo().refused("skip", "a", output={}, action=Action.UNDO)

    def test_of_a_paused_saga_waits_for_its_resume(self):
        dialogue = waiting().act("pause").act("skip", "b")
        assert dialogue.saga.status == "PAUSED"
        dialogue.act("resume").ends("COMPLETED", "done")

    def test_of_anything_but_where_the_saga_stands_is_refused(self):
        dialogue = waiting()
        assert "stands at b" in dialogue.refused("skip", "a")
        assert "There is no step 'z'; there is a, b." in dialogue.refused("skip", "z")
        assert "not come to b yet" in Dialogue(workflow(step("a"), step("b"))).refused("skip", "b")
        assert "b owes no undo; owed are a" in stuck_undo().refused("skip", "b", action=Action.UNDO)


class TestCompensate:
    def test_turns_a_waiting_saga_back(self):
        dialogue = waiting().act("compensate").expect(UNDO_A).ok().ends("COMPENSATED", "undone")
        assert dialogue.saga.failure.outcome == "operator"
        assert dialogue.saga.failure.reason == "ticket 7"

    def test_includes_a_call_that_may_have_been_made(self):
        dialogue = Dialogue(workflow(step("a"), step("b"))).ok().expect(B).take_over().act("compensate")
        dialogue.expect(UNDO_B).ok().expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_undoes_a_completed_saga(self):
        dialogue = Dialogue(workflow(step("a"), step("b"))).ok().ok().ends("COMPLETED", "done").act("compensate")
        assert dialogue.saga.finished_at is None
        dialogue.expect(UNDO_B).ok().expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_before_anything_was_done_fails_the_saga(self):
        dialogue = Dialogue(workflow(step("a", safe=True), step("b"))).given(Unavailable("busy", retry_after=9))
        dialogue.act("compensate").ends("FAILED", "refused")

    def test_of_an_unanswered_inquiry_undoes_what_can_be_undone(self):
        dialogue = stuck_inquiry().act("compensate")
        dialogue.ends("STUCK", "undoing")  # the undo needs the id that nobody has said

    def test_from_a_pause_turns_back(self):
        waiting().act("pause").act("compensate").expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_again_changes_nothing(self):
        dialogue = waiting().act("compensate")
        seq = dialogue.saga.seq
        assert dialogue.act("compensate").saga.seq == seq
        assert dialogue.ok().act("compensate").ends("COMPENSATED", "undone")
        Dialogue(workflow(step("a"))).given(Rejected("no")).act("compensate").ends("FAILED", "refused")

    def test_past_the_point_of_no_return_is_refused(self):
        assert "point of no return (a)" in stuck_past_pivot().refused("compensate")
        done = Dialogue(workflow(step("a", pivot=True))).ok()
        assert "point of no return" in done.refused("compensate")

    def test_is_refused_where_there_is_nothing_to_undo_or_it_goes_on_already(self):
        assert "can be undone" in Dialogue(workflow(step("a", safe=True))).ok().refused("compensate")
        assert "undoing already. Retry it" in stuck_undo().refused("compensate")


class TestPause:
    def test_holds_the_saga_until_it_is_resumed(self):
        dialogue = waiting().act("pause")
        assert dialogue.saga.next_tasks(START + timedelta(days=1)) == []
        dialogue.later(3600).act("resume").expire().expect(B).ok().ends("COMPLETED", "done")

    def test_holds_an_undo_too(self):
        dialogue = Dialogue(workflow(step("a"), step("b"))).ok().given(Rejected("no")).act("pause")
        assert dialogue.saga.status == "PAUSED"
        dialogue.act("resume").expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_and_resume_again_change_nothing(self):
        dialogue = waiting().act("pause")
        seq = dialogue.saga.seq
        assert dialogue.act("pause").saga.seq == seq
        assert dialogue.act("resume").act("resume").saga.seq == seq + 1

    def test_means_that_nothing_goes_out_meanwhile(self):
        definition = workflow(step("a"), step("b", pivot=True))
        dialogue = Dialogue(definition).ok().given(Unavailable("busy", retry_after=10)).later(2).act("pause").later(60)
        dialogue.act("compensate").expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_is_refused_where_nothing_moves(self):
        assert "STUCK" in stuck_undo().refused("pause")
        assert "STUCK, not PAUSED" in stuck_undo().refused("resume")
        assert "Resume it first" in waiting().act("pause").refused("retry")


class TestResolve:
    @pytest.mark.parametrize(
        ("end", "status", "state"), [("completed", "COMPLETED", "done"), ("compensated", "COMPENSATED", "undone")]
    )
    def test_ends_what_was_settled_by_hand(self, end, status, state):
        for dialogue in (stuck_undo(), stuck_past_pivot(), stuck_inquiry(), waiting().act("pause")):
            dialogue.act("resolve", end).ends(status, state)
            assert (dialogue.saga.failure is None) == (end == "completed")
            seq = dialogue.saga.seq
            assert dialogue.act("resolve", end).saga.seq == seq

    def test_is_refused_while_the_saga_moves(self):
        assert "RUNNING" in waiting().refused("resolve", "completed")


def test_every_act_is_an_event_with_its_actor_and_reason():
    dialogue = waiting().act("pause").act("resume").act("retry").act("compensate")
    acts = [event for event in dialogue.events if event.actor]
    assert [event.type for event in acts] == [
        EventType.SAGA_PAUSED,
        EventType.SAGA_RESUMED,
        EventType.RETRY_REQUESTED,
        EventType.COMPENSATION_REQUESTED,
    ]
    assert {(event.actor, event.reason) for event in acts} == {("anna", "ticket 7")}


def planned(dialogue: Dialogue, verb: str, *given: object, **options: object) -> list[str]:
    """What would go out, as `METHOD service /path`; `~` before what depends on an answer."""
    saga = Saga.restore(dialogue.saga.definition, dialogue.saga.origin, dialogue.events)
    getattr(saga, verb)(ANNA, dialogue.now, *given, **options)
    calls = saga.planned(dialogue.now)
    requests = [(call[1], "~") if isinstance(call, tuple) else (call, "") for call in calls]
    return [f"{mark}{request.method} {request.service} {request.path}" for request, mark in requests]


class TestPreview:
    def test_of_an_undo_is_every_call_in_order(self):
        assert planned(Dialogue(workflow(step("a"), step("b"))).ok().ok(), "compensate") == [UNDO_B, UNDO_A]
        assert planned(waiting(), "compensate") == [UNDO_A]
        assert planned(stuck_undo(), "retry") == [UNDO_A]
        assert planned(stuck_undo(), "skip", "a", action=Action.UNDO) == []

    def test_of_the_way_forward_is_the_due_calls_and_what_comes_after_their_answers(self):
        assert planned(stuck_past_pivot(), "retry") == [B, f"~{C}"]
        assert planned(stuck_inquiry(), "retry") == [ASK, "~DELETE svc /a/${steps.a.id}"]

    def test_sends_nothing_and_changes_nothing(self):
        dialogue = waiting()
        events = list(dialogue.events)
        planned(dialogue, "compensate")
        assert dialogue.events == events
        assert Saga.restore(dialogue.saga.definition, dialogue.saga.origin, events).status == "RUNNING"


class TestPostpone:
    def test_uses_up_no_attempt(self):
        dialogue = Dialogue(workflow(step("a")), max_retries=0)
        task = dialogue.tasks()[0]
        dialogue.events += dialogue.saga.postpone(Postponed("svc is not called now", 5), dialogue.now, task)
        assert dialogue.saga.wake_at() == START + timedelta(seconds=5)
        [again] = dialogue.tasks()
        assert (again.attempt.number, again.key) == (1, task.key)
        dialogue.ok().ends("COMPLETED", "done")

    def test_of_a_do_beyond_the_deadline_fails_it_as_certainly_not_done(self):
        dialogue = Dialogue(workflow(step("a"), step("b"))).ok()
        dialogue.events += dialogue.saga.postpone(Postponed("not now", 60), dialogue.now, dialogue.tasks()[0])
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_of_an_undo_has_no_limit(self):
        dialogue = Dialogue(workflow(step("a"), step("b")), max_retries=0).ok().given(Rejected("no"))
        for _ in range(50):
            dialogue.events += dialogue.saga.postpone(Postponed("not now", 60), dialogue.now, dialogue.tasks()[0])
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_takes_longer_each_time_in_a_row(self):
        dialogue = Dialogue(workflow(step("a"), step("b")), max_retries=0).ok().given(Rejected("no"))
        waits = []
        for _ in range(10):
            task = dialogue.tasks()[0]
            dialogue.events += dialogue.saga.postpone(Postponed("busy", 1), dialogue.now, task)
            waits.append((dialogue.saga.wake_at() - dialogue.now).total_seconds())
        assert waits[0] == 1
        assert waits[5] > 8
        assert 30 <= waits[-1] <= 60

    def test_after_its_step_has_failed_is_not_done_at_all(self):
        definition = workflow(step("a"), step("b", pivot=True, foreach="${input.items}", concurrency=2))
        dialogue = Dialogue(definition, {"items": [0, 1]}).ok()
        first, second = dialogue.tasks()
        dialogue.events += dialogue.saga.record(Rejected("no"), dialogue.now, of=first)
        dialogue.events += dialogue.saga.postpone(Postponed("busy", 1), dialogue.now, second)
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_means_that_nothing_went_out(self):
        dialogue = Dialogue(workflow(step("a"), step("b"))).ok()
        dialogue.events += dialogue.saga.postpone(Postponed("not now", 5), dialogue.now, dialogue.tasks()[0])
        dialogue.act("compensate").expect(UNDO_A).given(Succeeded()).ends("COMPENSATED", "undone")


def test_what_later_calls_need_is_known():
    first = Step(name="a", safe=True, action=Request(service="svc", method="GET", path="/a"))
    reading = Request(service="svc", method="GET", path="/b/${steps.a.id}", query={"x": "${steps.a.deep.er}"})
    definition = workflow(first, Step(name="b", safe=True, action=reading))
    assert definition.needed_from(definition.steps[0]) == {("id",), ("deep", "er")}
    assert definition.needed_from(definition.steps[1]) == frozenset()


def test_what_happens_to_a_copy_does_not_happen_to_the_saga():
    dialogue = stuck_undo()
    before = dialogue.saga
    copy = before.copy()
    copy.retry(ANNA, dialogue.now)
    (task,) = copy.next_tasks(dialogue.now)
    copy.record(Succeeded(None), dialogue.now, of=task)

    again = Saga.restore(before.definition, before.origin, before.history)
    assert copy.status == "COMPENSATED"
    assert (before.status, before.debts(), before.waiting()) == ("STUCK", ["a"], again.waiting())
    assert before.retry(ANNA, dialogue.now) == again.retry(ANNA, dialogue.now)
