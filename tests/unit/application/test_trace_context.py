"""Which traces are taken in, and which ids the spans of a saga have: the same for every driver."""

import re

import pytest

from application.trace_context import accepted, call_traceparent, span_of
from domain.outcomes import Rejected, Unavailable
from tests.support.dialogue import SAGA_ID, Dialogue, step, workflow
from tests.support.driving import Bench

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (GIVEN, GIVEN),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f" {GIVEN}\t", GIVEN),
        (f"00-{TRACE}-{PARENT}-ff", f"00-{TRACE}-{PARENT}-03"),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", GIVEN),
        (f"01-{TRACE}-{PARENT}-01", GIVEN),
    ],
)
def test_a_valid_traceparent_is_kept_in_version_00(given, kept):
    assert accepted(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "00",
        TRACE,
        GIVEN.upper(),
        f"{GIVEN}-more",
        f"{GIVEN}.",
        f"ff-{TRACE}-{PARENT}-01",
        f"0g-{TRACE}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01.more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}0-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00_{TRACE}_{PARENT}_01",
        f"00-{TRACE}-{PARENT[:-1]}\uff11-01",
        f"{GIVEN},{GIVEN}",
        f"{GIVEN}\n",
        f"cc-{TRACE}-{PARENT}-01-{'x' * 600}",
    ],
)
def test_whatever_else_comes_as_a_traceparent_is_as_if_none_had_come(given):
    assert accepted(given) is None


def test_without_a_traceparent_the_saga_is_the_trace():
    [task] = Dialogue(workflow(step("a"))).tasks()

    assert re.fullmatch(rf"00-{SAGA_ID.hex}-[0-9a-f]{{16}}-00", call_traceparent(task))


@pytest.mark.parametrize("sampled", [True, False])
def test_what_the_saga_calls_is_sampled_as_its_own_spans_are(sampled):
    [task] = Dialogue(workflow(step("a"))).tasks()

    assert call_traceparent(task, lambda saga_id: sampled and saga_id == SAGA_ID).endswith("-01" if sampled else "-00")


@pytest.mark.parametrize("flags", ["00", "01"])
def test_calls_belong_to_the_clients_trace_and_are_sampled_as_it_is(flags):
    bench = Bench(workflow(step("a"), step("b")))
    bench.start(traceparent=f"00-{TRACE}-{PARENT}-{flags}")
    sent = [call_traceparent(task) for task in bench.services.calls]

    assert all(re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-{flags}", each) for each in sent)
    assert len({*sent, GIVEN}) == 3


def test_every_attempt_is_a_span_of_its_own_also_after_a_person_had_it_tried_again():
    talk = Dialogue(workflow(step("a"), step("b"))).ok().given(Rejected("no"))
    spans = []
    while talk.saga.status != "STUCK":
        spans.append(call_traceparent(talk.tasks()[0]))
        talk.given(Unavailable("away"))
    talk.act("retry")
    spans.append(call_traceparent(talk.tasks()[0]))

    assert len(set(spans)) == len(spans) > 2


def test_a_driver_that_takes_over_repeats_the_call_in_the_same_span():
    talk = Dialogue(workflow(step("a")))
    before = call_traceparent(talk.tasks()[0])
    talk.take_over()

    assert call_traceparent(talk.tasks()[0]) == before


def test_the_event_that_says_how_a_call_ended_happened_in_the_calls_span():
    talk = Dialogue(workflow(step("a"), step("b")))
    sent = call_traceparent(talk.tasks()[0])
    talk.given(Unavailable("away"))
    failed = talk.events[-2]

    assert (failed.type, span_of(talk.saga, failed)) == ("attempt_failed", sent[36:52])
    assert span_of(talk.saga, talk.events[0]) != sent[36:52]
