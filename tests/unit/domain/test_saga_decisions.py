"""What a saga decides, whatever the workflow: retries, deadline, undo, points of no return, inquiries."""

from datetime import timedelta
from uuid import UUID

import pytest

from domain.definition import UNDO_RETRIES, Request, RetryPolicy
from domain.events import EventType
from domain.exceptions import OutcomeUnexpected
from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from tests.support.dialogue import START, Dialogue, step, workflow

A, B, C = "POST svc /a", "POST svc /b", "POST svc /c"
UNDO_A, UNDO_B = "POST svc /a/undo", "POST svc /b/undo"
NEVER = RetryPolicy(max_retries=0)
INQUIRY = Request(service="svc", method="GET", path="/a/outcome", query={"key": "${saga.do_key}"})
INQUIRED = {
    "inquiry": INQUIRY,
    "compensation": Request(service="svc", method="DELETE", path="/a/${steps.a.id}"),
    "output": {"id": "${response.id}"},
    "retry": NEVER,
}
ASK = "GET svc /a/outcome"
INQUIRED_ITEMS = {"inquiry": INQUIRY, "retry": NEVER}


class TestRetries:
    def test_wait_at_most_their_backoff_and_at_least_what_the_participant_asks(self):
        dialogue = Dialogue(workflow(step("a", retry=RetryPolicy(base=1, cap=4))))
        for ceiling in (1, 2, 4):
            before = dialogue.now
            dialogue.expect(A).given(Unavailable("busy"))
            assert timedelta(0) <= dialogue.saga.wake_at() - before <= timedelta(seconds=ceiling)
            dialogue.tasks()
        dialogue = Dialogue(workflow(step("a"))).expect(A).given(Unavailable("busy", retry_after=7))
        assert dialogue.saga.wake_at() == START + timedelta(seconds=7)

    def test_end_with_the_budget(self):
        dialogue = Dialogue(workflow(step("a")), max_retries=2)
        dialogue.given(Unavailable("1")).given(Unavailable("2")).given(Unavailable("3"))
        dialogue.ends("FAILED", "refused")

    def test_are_the_same_for_the_same_saga(self):
        one, other = (Dialogue(workflow(step("a"))).given(Unknown("?")) for _ in range(2))
        assert one.events == other.events

    def test_never_begin_after_the_deadline(self):
        dialogue = Dialogue(workflow(step("a")), deadline=5).given(Unavailable("busy", retry_after=5))
        dialogue.ends("FAILED", "refused")

    def test_of_an_undo_have_their_own_budget_and_no_deadline(self):
        dialogue = Dialogue(workflow(step("a", undo_retry=RetryPolicy(max_retries=5)), step("b")), max_retries=0)
        dialogue.ok().expect(B).given(Rejected("no")).later(3600)
        for _ in range(5):
            dialogue.expect(UNDO_A).given(Unavailable("down"))
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_of_an_undo_last_three_minutes_on_average_and_six_at_most(self):
        longest = sum(UNDO_RETRIES.ceiling(attempt) for attempt in range(1, UNDO_RETRIES.max_retries + 1))
        assert (longest / 2, longest) == (181.75, 363.5)
        lasted = [patience_of_an_undo(UUID(int=number)) for number in range(300)]
        assert 170 < sum(lasted) / len(lasted) < 194
        assert max(lasted) <= longest

    def test_that_wait_very_long_do_not_overflow(self):
        assert RetryPolicy(cap=30).ceiling(100_000) == 30


def patience_of_an_undo(saga_id: UUID) -> float:
    """Seconds until a saga is parked whose participant is down when it should undo, and stays so."""
    dialogue = Dialogue(workflow(step("a"), step("b")), max_retries=0, saga_id=saga_id).ok().given(Rejected("no"))
    while not dialogue.saga.resting:
        dialogue.expect(UNDO_A).given(Unavailable("down"))
    assert dialogue.saga.status == "STUCK"
    return (dialogue.now - START).total_seconds()


class TestUndo:
    def test_goes_in_reverse_order(self):
        dialogue = Dialogue(workflow(step("a"), step("b"), step("c"))).expect(A).ok().expect(B).ok()
        dialogue.expect(C).given(Rejected("no")).expect(UNDO_B).ok().expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_passes_by_safe_steps(self):
        dialogue = Dialogue(workflow(step("a"), step("b", safe=True), step("c"))).ok().ok().given(Rejected("no"))
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_includes_a_step_that_was_refused_after_an_unknown_attempt(self):
        dialogue = Dialogue(workflow(step("a"))).given(Unknown("timeout")).expect(A).given(Rejected("duplicate"))
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_that_is_refused_parks_the_saga_and_holds_up_the_earlier_steps(self):
        dialogue = Dialogue(workflow(step("a"), step("b"), step("c"))).ok().ok().given(Rejected("no"))
        dialogue.expect(UNDO_B).given(Rejected("never heard of it")).ends("STUCK", "undoing")
        assert "undo of b was given up" in dialogue.saga.parked_reason

    def test_that_is_given_up_does_not_hold_up_the_other_items_of_its_step(self):
        definition = workflow(step("a", foreach="${input.items}", undo_retry=NEVER), step("b"))
        dialogue = Dialogue(definition, {"items": [1, 2, 3]}).ok().ok().ok().expect(B).given(Rejected("no"))
        dialogue.expect(UNDO_A).given(Unavailable("down")).expect(UNDO_A).ok().expect(UNDO_A).ok()
        dialogue.ends("STUCK", "undoing")
        assert [event.item for event in dialogue.of_type(EventType.UNDO_SUCCEEDED)] == [1, 0]

    def test_that_cannot_be_written_down_parks_the_saga(self):
        undo = Request(service="svc", method="POST", path="/undo/${input.missing}")
        dialogue = Dialogue(workflow(step("a", compensation=undo), step("b"))).ok().given(Rejected("no"))
        dialogue.ends("STUCK", "undoing")

    def test_has_a_key_of_its_own(self):
        dialogue = Dialogue(workflow(step("a"), step("b"))).ok().given(Rejected("no")).expect(UNDO_A)
        assert dialogue.keys == ["a:undo"]


class TestDeadline:
    def test_that_passes_during_a_call_undoes_what_the_call_did(self):
        dialogue = Dialogue(workflow(step("a"), step("b")), deadline=5).later(6).ok().expect(UNDO_A)
        dialogue.ok().ends("COMPENSATED", "undone")
        assert dialogue.saga.failure.outcome == "deadline"

    def test_that_passes_during_the_last_call_does_not_undo_what_is_done(self):
        Dialogue(workflow(step("a")), deadline=5).later(6).ok().ends("COMPLETED", "done")

    def test_that_passes_while_nobody_drives_undoes_a_call_that_may_have_gone_out(self):
        dialogue = Dialogue(workflow(step("a")), deadline=5).later(6).expire().expect(UNDO_A)
        dialogue.ok().ends("COMPENSATED", "undone")

    def test_is_nothing_before_its_time(self):
        Dialogue(workflow(step("a")), deadline=5).later(4.9).expire().expect(A)

    def test_counts_no_more_after_the_point_of_no_return(self):
        dialogue = Dialogue(workflow(step("a", pivot=True), step("b", pivot=True)), deadline=5).ok().later(6).expire()
        dialogue.expect(B).ok().ends("COMPLETED", "done")


class TestPointOfNoReturn:
    def test_is_not_passed_by_a_refusal(self):
        dialogue = Dialogue(workflow(step("a"), step("b", pivot=True))).ok().given(Rejected("no"))
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_parks_what_fails_after_it(self):
        dialogue = Dialogue(workflow(step("a"), step("b", pivot=True), step("c", safe=True)), max_retries=0)
        dialogue.ok().ok().given(Unavailable("down")).ends("STUCK", "begun")
        assert "point of no return" in dialogue.saga.parked_reason

    def test_parks_when_it_may_have_been_passed(self):
        dialogue = Dialogue(workflow(step("a"), step("b", pivot=True)), max_retries=0).ok().given(Unknown("timeout"))
        dialogue.ends("STUCK", "begun")

    def test_is_not_passed_by_a_call_that_certainly_did_nothing_when_the_time_is_up(self):
        dialogue = Dialogue(workflow(step("a"), step("b", pivot=True)), deadline=5).ok()
        dialogue.given(Unavailable("down", retry_after=60)).expect(UNDO_A).ok().ends("COMPENSATED", "undone")


class TestInquiry:
    def test_that_says_done_goes_on_with_the_output(self):
        dialogue = Dialogue(workflow(step("a", **INQUIRED), step("b"))).given(Unknown("timeout")).expect(ASK)
        dialogue.ok({"outcome": "done", "id": 7}).expect(B).given(Rejected("no")).expect("DELETE svc /a/7")

    def test_that_says_not_done_leaves_nothing_to_undo(self):
        dialogue = Dialogue(workflow(step("a", **INQUIRED))).given(Unknown("timeout")).expect(ASK)
        dialogue.ok({"outcome": "not_done"}).ends("FAILED", "refused")

    def test_that_says_done_after_the_deadline_is_undone_by_its_output(self):
        dialogue = Dialogue(workflow(step("a", **INQUIRED), step("b")), deadline=5).later(6).expire().expect(ASK)
        dialogue.ok({"outcome": "done", "id": 7}).expect("DELETE svc /a/7").ok().ends("COMPENSATED", "undone")

    def test_without_an_answer_parks_and_does_not_guess(self):
        dialogue = Dialogue(workflow(step("a", **INQUIRED, undo_retry=NEVER))).given(Unknown("timeout"))
        dialogue.expect(ASK).given(Rejected("404")).ends("STUCK", "begun")

    def test_that_makes_no_sense_is_asked_again(self):
        dialogue = Dialogue(workflow(step("a", **INQUIRED))).given(Unknown("timeout")).ok({"outcome": "perhaps"})
        dialogue.expect(ASK)

    def test_is_not_made_for_a_certain_failure(self):
        Dialogue(workflow(step("a", **INQUIRED))).given(Rejected("no")).ends("FAILED", "refused")


class TestForeach:
    def test_does_as_many_items_at_once_as_it_may(self):
        dialogue = Dialogue(workflow(step("a", foreach="${input.items}", concurrency=2)), {"items": [1, 2, 3]})
        dialogue.expect(A, A).ok(at=1).expect(A, A).ok().ok().ends("COMPLETED", "done")

    def test_waits_for_what_is_under_way_before_it_turns_back(self):
        dialogue = Dialogue(workflow(step("a", foreach="${input.items}", concurrency=3)), {"items": [1, 2, 3, 4]})
        dialogue.expect(A, A, A).given(Rejected("no"), at=1).expect(A, A).given(Unknown("?")).expect(A).ok()
        dialogue.expect(UNDO_A).ok().expect(UNDO_A).ok().ends("COMPENSATED", "undone")
        assert [event.item for event in dialogue.of_type(EventType.UNDO_SUCCEEDED)] == [2, 0]

    def test_over_nothing_passes_through_its_states_without_a_call(self):
        empty = step("a", foreach="${input.items}", running_state="doing", done_state="did")
        dialogue = Dialogue(workflow(empty, step("b")), {"items": []}).expect(B)
        assert dialogue.states() == ["begun", "doing", "did"]
        assert dialogue.saga.outputs == {"a": []}

    def test_over_no_list_fails_before_any_call(self):
        Dialogue(workflow(step("a", foreach="${input.items}")), {"items": "x"}).ends("FAILED", "refused")

    def test_gives_later_steps_the_outputs_in_order(self):
        definition = workflow(step("a", foreach="${input.items}", concurrency=2), step("b"))
        dialogue = Dialogue(definition, {"items": [1, 2]}).ok("second", at=1).ok("first")
        assert dialogue.saga.outputs == {"a": ["first", "second"]}


class TestDurability:
    def test_is_not_needed_while_only_reads_follow(self):
        assert not Dialogue(workflow(step("a", safe=True))).saga.must_be_durable

    def test_is_needed_before_an_effect_and_at_the_end(self):
        dialogue = Dialogue(workflow(step("a", safe=True), step("b"))).ok()
        assert dialogue.saga.must_be_durable
        assert dialogue.ok().saga.must_be_durable

    def test_is_needed_when_the_saga_is_parked(self):
        dialogue = Dialogue(workflow(step("a", pivot=True), step("b", safe=True)), max_retries=0).ok()
        assert dialogue.given(Unavailable("down")).saga.must_be_durable


class TestTakeover:
    def test_does_not_believe_that_a_repeat_which_is_told_no_settles_the_first_sending(self):
        dialogue = Dialogue(workflow(step("a")), max_retries=0).take_over().expect(A).given(Unavailable("busy"))
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_repeats_the_calls_that_were_due_with_the_same_key(self):
        dialogue = Dialogue(workflow(step("a"))).expect(A).take_over().expect(A)
        assert dialogue.keys == ["a:do", "a:do"]
        dialogue.ok().ends("COMPLETED", "done")

    def test_leaves_a_retry_alone_whose_time_had_not_come(self):
        dialogue = Dialogue(workflow(step("a")), max_retries=1).given(Unavailable("busy", retry_after=5)).take_over()
        dialogue.expect(A).given(Unavailable("busy")).ends("FAILED", "refused")

    def test_names_the_new_driver_in_the_history(self):
        dialogue = Dialogue(workflow(step("a"))).take_over()
        assert [event.actor for event in dialogue.of_type(EventType.DRIVER_REPLACED)] == ["worker-2"]


def test_an_outcome_that_is_not_awaited_changes_nothing():
    dialogue = Dialogue(workflow(step("a"), step("b")))
    task = dialogue.tasks()[0]
    dialogue.ok()
    before = dialogue.saga.seq
    with pytest.raises(OutcomeUnexpected):
        dialogue.saga.record(Succeeded(), dialogue.now, of=task)
    assert dialogue.saga.seq == before
    dialogue.expect(B)


def test_a_success_without_a_declared_output_is_not_a_success():
    dialogue = Dialogue(workflow(step("a", output={"id": "${response.id}"}))).ok({"name": "x"})
    assert dialogue.events[-2].outcome == "unknown"
    assert dialogue.events[-2].reason == "unreadable answer: it has no id"


def test_a_call_that_cannot_be_written_down_does_not_go_out():
    action = Request(service="svc", method="POST", path="/a/${input.missing}")
    dialogue = Dialogue(workflow(step("a", action=action))).ends("FAILED", "refused")
    assert "null inside a text" in dialogue.saga.failure.reason


class TestAFailedStep:
    """With items under way side by side, the failure of one ends the others' attempts."""

    def test_does_not_repeat_what_waits_for_its_next_attempt(self):
        definition = workflow(step("a", foreach="${input.items}", concurrency=2))
        dialogue = Dialogue(definition, {"items": [0, 1]}).given(Unavailable("busy", retry_after=20), at=0)
        dialogue.events += dialogue.saga.record(Rejected("no"), dialogue.now, of=dialogue.saga.next_tasks(START)[0])
        dialogue.ends("FAILED", "refused")

    def test_can_still_turn_back_before_its_pivot(self):
        definition = workflow(step("a"), step("b", pivot=True, foreach="${input.items}", concurrency=2))
        dialogue = Dialogue(definition, {"items": [0, 1]}).ok().given(Unavailable("busy", retry_after=20), at=0)
        dialogue.events += dialogue.saga.record(Rejected("no"), dialogue.now, of=dialogue.saga.next_tasks(START)[0])
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_undoes_what_may_have_been_done_without_doing_it_again(self):
        definition = workflow(step("a", foreach="${input.items}", concurrency=2))
        dialogue = Dialogue(definition, {"items": [0, 1]}).given(Rejected("no"), at=1).expect(A).take_over()
        dialogue.expect(UNDO_A).ok().ends("COMPENSATED", "undone")


def test_an_inquiry_that_cannot_be_written_down_parks_the_saga():
    asking = Request(service="svc", method="GET", path="/a/${input.ref}")
    definition = workflow(step("a", inquiry=asking, retry=NEVER))
    dialogue = Dialogue(definition).given(Unknown("timeout")).ends("STUCK", "begun")
    assert "the inquiry was not answered" in dialogue.saga.parked_reason


class TestAConditionalStep:
    DEFINITION = workflow(
        step("a"),
        step("b", when="${input.points > `0`}", running_state="deducting", done_state="deducted"),
        step("c", action=Request(service="svc", method="POST", path="/c", body={"points": "${steps.b.n}"})),
    )

    def test_is_done_when_its_condition_holds(self):
        dialogue = Dialogue(self.DEFINITION, {"points": 3}).ok().expect(B).ok({"n": 3}).expect(C)
        assert dialogue.tasks()[0].body == {"points": 3}

    def test_is_left_out_when_it_does_not_and_its_output_is_null(self):
        dialogue = Dialogue(self.DEFINITION, {"points": 0}).ok().expect(C)
        assert dialogue.tasks()[0].body == {"points": None}
        assert dialogue.states() == ["begun", "deducting", "deducted"]
        dialogue.given(Rejected("no")).expect(UNDO_A).ok().ends("COMPENSATED", "undone")

    def test_fails_when_nobody_can_say(self):
        dialogue = Dialogue(self.DEFINITION, {}).ok().expect(UNDO_A)
        assert "when ${input.points > `0`} is None, not true or false" in dialogue.saga.failure.reason

    def test_over_a_list_is_left_out_whole(self):
        definition = workflow(step("a", when="${input.go}", foreach="${input.items}"), step("b"))
        Dialogue(definition, {"go": False, "items": [1]}).expect(B).ok().ends("COMPLETED", "done")
        Dialogue(definition, {"go": True, "items": [1]}).expect(A).ok().expect(B)


def test_inquiries_side_by_side_are_all_heard_before_the_saga_is_parked():
    definition = workflow(step("a", foreach="${input.items}", concurrency=2, undo_retry=NEVER, **INQUIRED_ITEMS))
    dialogue = Dialogue(definition, {"items": [0, 1]}).given(Unknown("?"), at=0).given(Unknown("?"), at=0)
    first, second = dialogue.tasks()
    dialogue.events += dialogue.saga.record(Unavailable("down"), dialogue.now, of=first)
    dialogue.events += dialogue.saga.record(Succeeded({"outcome": "not_done"}), dialogue.now, of=second)
    dialogue.ends("STUCK", "begun")
    dialogue.act("retry").expect(ASK).ok({"outcome": "not_done"}).ends("FAILED", "refused")
