"""Steps done by messages, and sagas that wait for them without a driver: partner creation, and what it is made of."""

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.definition import Await, Publish, Step
from domain.exceptions import DefinitionInvalid, NotAllowed
from domain.operations import By
from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows.partner_creation import ANSWERS, COMMANDS, PARTNER_CREATION
from tests.support.dialogue import ANNA, SAGA_ID, START, Dialogue, step, workflow

PARTNER = {"nombre": "Example", "email": "p@example.com", "telefono": "+1234567890", "direccion": "123 Main Street"}
CREATE = "POST integraciones /api/v1/saga/partners"
ASK = f"GET integraciones /api/v1/saga/partners/saga-status/{SAGA_ID}"
DELETE = "DELETE integraciones /api/v1/partners/partner-1"
KEY = f"{SAGA_ID}:create_alliance:do"
CANCEL = (COMMANDS, {"type": "CancelAlliance", "saga_id": str(SAGA_ID), "undo_of": KEY})


def partner() -> Dialogue:
    return Dialogue(PARTNER_CREATION, PARTNER, deadline=120.0, max_retries=0)


def waiting() -> Dialogue:
    """The partner is created, and the alliance asked for."""
    dialogue = partner().expect(CREATE).ok({"partner_id": "partner-1"})
    assert (dialogue.saga.status, dialogue.saga.state) == ("WAITING", "alliance_creation_in_progress")
    return dialogue


class TestPartnerCreation:
    def test_succeeds_by_a_call_and_a_message(self):
        dialogue = waiting()
        assert dialogue.published() == [
            (
                COMMANDS,
                {
                    "type": "CreateAlliance",
                    "saga_id": str(SAGA_ID),
                    "partner_id": "partner-1",
                    "correlation_id": "correlation",
                    "key": KEY,
                },
            )
        ]
        dialogue.hears("alliance_created", alliance_id="alliance-1").ends("COMPLETED", "completed")
        assert dialogue.saga.outputs["create_alliance"] == {"alliance_id": "alliance-1"}
        assert dialogue.states() == [
            "started",
            "partner_creation_in_progress",
            "partner_created",
            "alliance_creation_in_progress",
            "alliance_created",
            "completed",
        ]

    def test_is_undone_when_the_alliance_is_refused(self):
        dialogue = waiting().hears("alliance_failed", reason="not solvent").expect(DELETE).ok()
        dialogue.ends("COMPENSATED", "compensated")
        assert dialogue.saga.failure.reason == "not solvent"
        assert len(dialogue.published()) == 1, "what was certainly not done is not undone"

    def test_is_undone_with_its_alliance_when_nobody_answers(self):
        dialogue = waiting().later(30).expire()
        assert dialogue.published()[-1] == CANCEL
        dialogue.expect(DELETE).ok().ends("COMPENSATED", "compensated")

    def test_fails_when_the_partner_is_refused(self):
        partner().expect(CREATE).given(Rejected("exists")).ends("FAILED", "failed")

    def test_asks_what_became_of_a_partner_whose_answer_was_lost(self):
        partner().given(Unknown("?")).expect(ASK).ok({"outcome": "not_done"}).ends("FAILED", "failed")
        dialogue = partner().given(Unknown("?")).expect(ASK).ok({"outcome": "done", "partner_id": "partner-1"})
        dialogue.hears("alliance_created", alliance_id="a").ends("COMPLETED", "completed")


class TestAMessage:
    def test_that_nobody_waits_for_changes_nothing(self):
        dialogue = waiting()
        for kind in ("alliance_renamed", "CreateAlliance", ""):
            assert dialogue.saga.signal({"type": kind}, START) == []
        assert dialogue.saga.signal({}, START) == []
        assert dialogue.saga.signal({"type": "alliance_created", "alliance_id": "x"}, START, topic="another") == []
        assert dialogue.saga.status == "WAITING"

    def test_that_comes_twice_or_late_changes_nothing(self):
        dialogue = waiting().hears("alliance_created", alliance_id="a")
        seq = dialogue.saga.seq
        assert dialogue.hears("alliance_created", alliance_id="b").hears("alliance_failed").saga.seq == seq
        late = waiting().later(30).expire()
        seq = late.saga.seq
        assert late.hears("alliance_created", alliance_id="a").saga.seq == seq

    def test_that_lacks_what_is_needed_leaves_the_outcome_unknown(self):
        dialogue = waiting().hears("alliance_created")
        assert dialogue.saga.failure.reason == "unreadable answer: it has no alliance_id"
        assert dialogue.published()[-1] == CANCEL

    def test_comes_on_its_topic_or_by_the_api(self):
        for topic in (None, ANSWERS):
            dialogue = waiting()
            assert dialogue.saga.signal({"type": "alliance_created", "alliance_id": "a"}, START, topic=topic)

    def test_that_a_person_gives_leaves_who_and_why_in_the_history(self):
        by, dialogue = By(actor="ana", reason="told by phone"), waiting()
        event = dialogue.saga.signal({"type": "alliance_created", "alliance_id": "a"}, START, by=by)[0]
        assert (event.type, event.actor, event.reason) == ("step_succeeded", "ana", "told by phone")

        dialogue = waiting()
        event = dialogue.saga.signal({"type": "alliance_failed", "reason": "not solvent"}, START, by=by)[0]
        assert (event.type, event.actor) == ("attempt_failed", "ana")
        assert event.reason == dialogue.saga.failure.reason == "not solvent (by hand: told by phone)"

    def test_that_refuses_by_hand_is_not_the_participants_word_so_what_it_may_yet_do_is_cancelled(self):
        dialogue = waiting()
        dialogue.events += dialogue.saga.signal({"type": "alliance_failed"}, START, by=ANNA)
        assert dialogue.published()[-1] == CANCEL
        dialogue.take_over().expect(DELETE).ok().ends("COMPENSATED", "compensated")
        assert dialogue.saga.failure.outcome == "rejected"
        assert dialogue.saga.debts() == []

    def test_that_says_done_after_refused_contradicts_its_participant_alone(self):
        created = {"type": "alliance_created", "alliance_id": "a"}
        refused = waiting().hears("alliance_failed").saga
        assert refused.contradicts(created, ANSWERS)
        assert not refused.contradicts(created, "another")
        assert not refused.contradicts({"type": "alliance_created"}, ANSWERS)
        assert not refused.contradicts({"type": "alliance_failed"}, ANSWERS)
        done, lapsed = waiting().hears("alliance_created", alliance_id="a").saga, waiting().later(30).expire().saga
        by_hand = waiting().saga
        by_hand.signal({"type": "alliance_failed"}, START, by=ANNA)
        for saga in (by_hand, done, lapsed):
            assert not saga.contradicts(created, ANSWERS)

    def test_that_is_waited_for_ends_what_can_be_said_to_follow(self):
        dialogue = waiting()
        assert dialogue.saga.planned(START) == []
        held = waiting().act("pause").act("resume")
        assert held.saga.planned(START) == []

    def test_waits_while_the_saga_is_paused(self):
        dialogue = waiting().act("pause")
        with pytest.raises(NotAllowed, match="Deliver the message again"):
            dialogue.hears("alliance_created", alliance_id="a")
        dialogue.later(3600).act("resume").expire()
        assert dialogue.saga.status == "WAITING"
        dialogue.hears("alliance_created", alliance_id="a").ends("COMPLETED", "completed")


class TestAWaitingSaga:
    def test_has_no_calls_and_wakes_when_its_time_is_over(self):
        dialogue = waiting()
        assert dialogue.saga.driverless
        assert dialogue.saga.next_tasks(START + timedelta(days=1)) == []
        assert dialogue.saga.wake_at() == START + timedelta(seconds=30)

    def test_waits_no_longer_than_its_deadline(self):
        dialogue = Dialogue(PARTNER_CREATION, PARTNER, deadline=10.0).ok({"partner_id": "partner-1"})
        assert dialogue.saga.wake_at() == START + timedelta(seconds=10)
        dialogue.later(10).expire().expect(DELETE)
        assert dialogue.published()[-1] == CANCEL

    def test_can_be_skipped_or_turned_back_by_a_person(self):
        waiting().act("skip", "create_alliance", output={"alliance_id": "a"}).ends("COMPLETED", "completed")
        dialogue = waiting().act("compensate").expect(DELETE)
        assert dialogue.published()[-1] == CANCEL
        assert "It waits for a message" in waiting().refused("retry")


def test_a_message_without_an_answer_is_done_when_it_is_sent():
    news = Publish(topic="news", body={"of": "${item}"})
    tell = step("tell", action=None, publish=news, undo_publish=news, compensation=None, foreach="${input.items}")
    dialogue = Dialogue(workflow(tell, step("b")), {"items": [1, 2]}).expect("POST svc /b").given(Rejected("no"))
    dialogue.ends("COMPENSATED", "undone")
    assert [body["of"] for _, body in dialogue.published()] == [1, 2, 2, 1]


@pytest.mark.parametrize("foreach", [None, "${input.items}"])
def test_a_message_without_an_answer_may_be_the_last_step(foreach):
    news = Publish(topic="news", body={})
    tell = step("tell", action=None, publish=news, compensation=None, pivot=True, foreach=foreach)
    told = Dialogue(workflow(step("a"), tell, tell_again(news)), {"items": [1, 2]}).ok().ends("COMPLETED", "done")
    assert len(told.published()) == (3 if foreach else 2)


def test_a_message_of_no_return_that_went_out_is_one_also_before_it_is_answered():
    sign = tell_again(Publish(topic="t", body={}))
    sign = replace(sign, awaits=Await(types=("signed", "refused")), reject_when="${response.type == 'refused'}")

    def asked():
        return Dialogue(workflow(step("a"), sign)).ok()

    assert "point of no return" in asked().refused("compensate")
    asked().hears("signed").ends("COMPLETED", "done")
    asked().hears("refused").expect("POST svc /a/undo")
    assert asked().later(31).expire().saga.status == "STUCK"


def test_a_point_of_no_return_that_is_refused_by_hand_may_have_been_passed_unless_only_a_person_can_say():
    for topic, status in (("answers", "STUCK"), (None, "COMPENSATING")):
        sign = tell_again(Publish(topic="t", body={}))
        awaits = Await(types=("signed", "refused"), topic=topic)
        sign = replace(sign, awaits=awaits, reject_when="${response.type == 'refused'}")
        dialogue = Dialogue(workflow(step("a"), sign)).ok()
        dialogue.events += dialogue.saga.signal({"type": "refused"}, START, by=ANNA)
        assert dialogue.saga.status == status
    Dialogue(workflow(step("a"), sign)).ok().hears("refused").expect("POST svc /a/undo")


def test_a_wait_of_nothing_that_was_sent_leaves_nothing_when_it_is_refused_by_hand():
    awaits = Await(types=("approved", "refused"))
    approve = step("approve", action=None, compensation=None, awaits=awaits)
    approve = replace(approve, reject_when="${response.type == 'refused'}")
    dialogue = Dialogue(workflow(step("a"), approve)).ok()
    dialogue.events += dialogue.saga.signal({"type": "refused"}, START, by=ANNA)
    assert dialogue.saga.debts() == ["a"]


def tell_again(news):
    return step("tell_again", action=None, publish=news, compensation=None, pivot=True)


def test_a_step_may_only_wait():
    waits = step("signal", action=None, compensation=None, awaits=Await(types=("approved",), timeout=5))
    dialogue = Dialogue(workflow(step("a"), waits, step("b"))).ok()
    assert dialogue.saga.status == "WAITING"
    dialogue.hears("approved", by="anna").expect("POST svc /b")
    Dialogue(workflow(step("a"), waits)).ok().later(5).expire().expect("POST svc /a/undo")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"publish": Publish(topic="t", body={})}, "is either a call (action) or a message"),
        ({"action": None, "compensation": None}, "does nothing; give it an action"),
        ({"undo_publish": Publish(topic="t", body={})}, "either by a call or by a message"),
        ({"action": None, "publish": Publish(topic=" ", body={})}, "publish.topic"),
        ({"action": None, "publish": Publish(topic="t", body={"x": "${steps.z}"})}, "publish.body.x"),
        ({"action": None, "awaits": Await(types=())}, "awaits.types"),
        ({"action": None, "awaits": Await(types=("a",), timeout=0)}, "awaits.timeout"),
        ({"action": None, "awaits": Await(types=("a",))}, "waiting leaves nothing to undo"),
        (
            {"action": None, "publish": Publish(topic="t", body={}), "awaits": Await(types=("a",)),
             "foreach": "${input.x}"},
            "cannot wait for messages",
        ),
    ],
)  # fmt: skip
def test_a_step_of_messages_is_checked(options, fault):
    with pytest.raises(DefinitionInvalid, match=fault.split()[0]) as caught:
        workflow(step("a", **options))
    assert any(fault in found for found in caught.value.faults)


class TestAWaitThatIsEnded:
    @pytest.mark.parametrize("outcome", [Rejected("no"), Unavailable("nobody"), Unknown("lost")])
    def test_fails_the_step_as_it_is_told_and_what_was_done_is_undone(self, outcome):
        dialogue = waiting()
        dialogue.saga.end_wait(outcome, START, "create_alliance")
        assert (dialogue.saga.failure.step, dialogue.saga.failure.outcome) == ("create_alliance", outcome.kind)
        dialogue.expect(DELETE).ok().ends("COMPENSATED", "compensated")
        cancels = [event for event in dialogue.saga.history if event.output == {"topic": CANCEL[0], "body": CANCEL[1]}]
        assert len(cancels) == (outcome.kind != "rejected"), "what may have been heard is cancelled"

    def test_is_one_that_the_saga_is_at(self):
        dialogue = waiting()
        assert dialogue.saga.end_wait(Rejected("no"), START, "create_partner") == []
        assert dialogue.saga.end_wait(Rejected("no"), START, "create_alliance") != []
        assert dialogue.saga.end_wait(Rejected("no"), START, "create_alliance") == []

    def test_is_not_ended_while_the_saga_is_paused(self):
        dialogue = waiting()
        dialogue.saga.pause(ANNA, START)
        with pytest.raises(NotAllowed):
            dialogue.saga.end_wait(Rejected("no"), START, "create_alliance")


class TestAMessageThatIsTooEarly:
    """A call, a wait, another call; the wait is not the saga's first step."""

    FLOW = workflow(
        step("a"),
        Step(name="told", awaits=Await(types=("ok",), topic="t", timeout=30), when="${input.wanted}"),
        step("b"),
        name="early",
    )
    OK = {"type": "ok"}

    def begun(self, *, wanted: bool = True) -> Dialogue:
        return Dialogue(self.FLOW, {"wanted": wanted}, deadline=120.0, max_retries=0)

    def test_is_awaited_later_by_its_type_on_its_topic_only(self):
        saga = self.begun().saga
        assert saga.awaits_later(self.OK, "t")
        assert not saga.awaits_later(self.OK, "other")
        assert not saga.awaits_later({"type": "no"}, "t")

    def test_is_not_awaited_once_its_step_is_settled_or_left_out(self):
        assert not self.begun().expect("POST svc /a").ok().hears("ok").saga.awaits_later(self.OK, "t")
        assert not self.begun(wanted=False).expect("POST svc /a").ok().saga.awaits_later(self.OK, "t")

    def test_is_awaited_by_a_saga_that_is_held_on_its_way_forward_and_not_on_its_way_back(self):
        held = self.begun().saga
        held.pause(ANNA, START)
        assert held.awaits_later(self.OK, "t")
        back = self.begun().expect("POST svc /a").ok().saga
        back.compensate(ANNA, START)
        assert back.status == "COMPENSATING"
        assert not back.awaits_later(self.OK, "t")
        back.pause(ANNA, START)
        assert not back.awaits_later(self.OK, "t")

    def test_is_not_awaited_by_a_saga_that_has_ended(self):
        assert not self.begun().expect("POST svc /a").given(Rejected("no")).saga.awaits_later(self.OK, "t")
