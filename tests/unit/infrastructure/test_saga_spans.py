"""What a saga's events tell as spans: each once, below the right one, also when a person steps in."""

from dataclasses import replace

import pytest

from domain.definition import Await, Publish
from domain.events import EventType
from domain.outcomes import CallFacts, Rejected, Succeeded, Unavailable, Unknown
from infrastructure.saga_spans import Span, not_stored, told
from tests.support.dialogue import SAGA_ID, Dialogue, step, workflow

GIVEN = f"00-{'a' * 32}-{'b' * 16}-01"
ASK = step(
    "ask",
    action=None,
    compensation=None,
    publish=Publish(topic="commands", body={}),
    awaits=Await(topic="answers", types=("done",), timeout=10),
    undo_publish=Publish(topic="commands", body={}),
)


class Watched(Dialogue):
    """A dialogue whose every batch of events is told."""

    def __init__(self, *steps, traceparent=None, **options):
        super().__init__(workflow(*steps), **options)
        self.saga.origin = replace(self.saga.origin, traceparent=traceparent)
        self.spans: list[Span] = []
        self._shown = 0
        self.tell()

    def tell(self):
        fresh, self._shown = self.events[self._shown :], len(self.events)
        self.spans += told(self.saga, fresh, 0, 0) if fresh else []
        return self

    def given(self, outcome, at=0):
        facts = CallFacts("svc", "POST", 200 if isinstance(outcome, Succeeded) else 409, 0.25)
        self.later(1)
        self.events += self.saga.record(outcome, self.now, of=self.tasks()[at], facts=facts)
        return self.tell()

    def act(self, verb, *given, **options):
        super().act(verb, *given, **options)
        return self.tell()

    def hears(self, kind, **body):
        super().hears(kind, **body)
        return self.tell()

    def expire(self):
        super().expire()
        return self.tell()

    def take_over(self):
        super().take_over()
        return self.tell()

    def places(self):
        """Each span but the checkpoints as `parent > span`; every id is there once, and so is every parent."""
        names = {span.id: span.name for span in self.spans}
        assert len(names) == len(self.spans), "no span twice"
        first = self.saga.origin.traceparent
        names |= {None: "nobody"} | ({first[36:52]: "client"} if first else {})
        return [f"{names[span.parent]} > {span.name}" for span in self.spans if span.name != "checkpoint"]

    def failures(self):
        return {span.name: span.failure for span in self.spans if span.failure}


def test_a_step_and_its_attempt_end_with_the_answer_and_the_saga_with_its_rest():
    talk = Watched(step("a"), traceparent=GIVEN).ok()

    assert talk.places() == ["step a > attempt a", "saga test > step a", "client > saga test"]
    assert {span.trace for span in talk.spans} == {"a" * 32}
    attempt = next(span for span in talk.spans if span.name == "attempt a")
    assert attempt.end - attempt.begin == 250_000_000
    assert talk.failures() == {}


def test_a_saga_without_a_client_is_the_root_of_its_own_trace():
    talk = Watched(step("a")).ok()

    assert talk.places()[-1] == "nobody > saga test"
    assert {span.trace for span in talk.spans} == {SAGA_ID.hex}


def test_a_step_is_one_span_over_all_its_attempts():
    talk = Watched(step("a")).given(Unavailable("away")).given(Unknown("?")).ok()

    assert talk.places() == ["step a > attempt a"] * 3 + ["saga test > step a", "nobody > saga test"]
    assert [span.failure for span in talk.spans if span.name == "attempt a"] == ["unavailable", "unknown", None]
    assert [span.failure for span in talk.spans if span.name == "step a"] == [None]


def test_a_step_over_a_list_is_one_span_over_all_its_items():
    talk = Watched(step("a", foreach="${input.of}", concurrency=2), given={"of": [1, 2, 3]}).ok().ok().ok()

    assert talk.places() == ["step a > attempt a"] * 3 + ["saga test > step a", "nobody > saga test"]
    assert sorted(span.attributes["saga.item"] for span in talk.spans if span.name == "attempt a") == [0, 1, 2]


def test_what_is_undone_is_a_span_beside_the_steps():
    talk = Watched(step("a"), step("b")).ok().given(Rejected("Mrs Smith has no money")).ok()

    assert talk.places()[-3:] == ["undo a > attempt a", "saga test > undo a", "nobody > saga test"]
    assert talk.failures() == {"attempt b": "rejected", "step b": "rejected", "saga test": "rejected"}
    assert "Smith" not in repr(talk.spans)


def test_a_driver_that_takes_over_ends_what_the_one_before_began():
    talk = Watched(step("a"), step("b")).ok().take_over().ok()

    assert talk.places().count("saga test > step b") == 1
    assert [name for name, _ in talk.spans[-2].happened] == ["driver_replaced"]


def test_a_message_and_the_wait_for_its_answer_are_spans_of_their_step():
    talk = Watched(ASK).later(3).hears("done")

    assert talk.places() == [
        "step ask > publish commands",
        "step ask > await ask",
        "saga test > step ask",
        "nobody > saga test",
    ]
    [wait] = [span for span in talk.spans if span.name == "await ask"]
    assert wait.end - wait.begin == 3_000_000_000


def test_a_message_that_is_not_answered_fails_its_step():
    talk = Watched(ASK).later(11).expire()

    assert talk.failures() == {"await ask": "unknown", "step ask": "unknown", "saga test": "unknown"}


def test_a_parked_saga_is_told_and_what_a_person_does_follows_below_it():
    talk = Watched(step("a"), step("b")).ok().given(Rejected("no"))
    while talk.saga.status != "STUCK":
        talk.given(Unavailable("away"))
    assert (talk.places()[-1], talk.spans[-2].failure) == ("nobody > saga test", "stuck")

    talk.act("retry").ok()
    assert talk.places()[-3:] == [
        "undo a > attempt a",
        "retry_requested test > undo a",
        "saga test > retry_requested test",
    ]


@pytest.mark.parametrize("verb", ["compensate", "retry"])
def test_what_a_person_interrupts_ends_there_and_goes_on_below_what_was_done(verb):
    talk = Watched(step("a"), step("b")).ok().given(Unavailable("away")).act(verb)
    while not talk.saga.resting:
        talk.ok()

    assert talk.places().count("saga test > step b") == 1
    assert talk.places().count("nobody > saga test") == 1
    assert any(place.startswith("saga test > ") and place.endswith("_requested test") for place in talk.places())


def test_a_pause_ends_the_span_of_the_saga_and_a_resume_opens_the_next():
    talk = Watched(step("a"), step("b")).ok().act("pause").act("resume").ok()

    assert talk.places().count("nobody > saga test") == 1
    assert talk.places()[-1] == "saga test > saga_resumed test"


@pytest.mark.parametrize("verb", ["resume", "compensate"])
def test_a_step_that_is_open_when_the_saga_is_paused_ends_there_and_goes_on_below_what_follows(verb):
    talk = Watched(step("a"), step("b")).ok().given(Unavailable("away")).act("pause")
    assert talk.places()[-2:] == ["saga test > step b", "nobody > saga test"]

    talk.act("resume")
    if verb == "compensate":
        talk.act("compensate")
    while not talk.saga.resting:
        talk.ok()
    assert talk.places().count("saga test > step b") == 1


def test_a_call_that_never_went_out_is_no_span():
    talk = Watched(step("a", action=replace(step("a").action, body={"n": "n-${input.missing}"})))

    assert talk.of_type(EventType.ATTEMPT_FAILED)
    assert "attempt a" not in {span.name for span in talk.spans}


def test_a_checkpoint_that_failed_says_so():
    talk = Watched(step("a"))
    span = not_stored(talk.saga, talk.events, 1, 2, "LeaseLost")

    assert (span.name, span.failure, span.begin, span.end) == ("checkpoint", "LeaseLost", 1, 2)
    assert span.id not in {each.id for each in talk.spans}, "what is stored in the end is another span"
