"""What a template may do and make: one that asks for more has no value, long before it costs memory or time."""

import json
import time

import pytest

from domain import evaluation
from domain.calls import render_message
from domain.definition import Publish, Request
from domain.evaluation import DEEPEST_VALUE, LARGEST, measure
from domain.exceptions import TemplateError
from domain.judgement import LONGEST_REASON, judge
from domain.outcomes import Rejected, Succeeded, Unknown
from domain.templates import render
from tests.support.dialogue import Dialogue, step, workflow

DOUBLED = "".join([" | [@,@]"] * 40)
BOMB = f"${{input{DOUBLED}}}"
SCOPE = {"input": {"text": "é" * 1000, "long": "x" * 1_000_000, "rows": [{"id": at} for at in range(20_000)]}}


@pytest.mark.parametrize(
    "template",
    [
        BOMB,
        {"a": [BOMB]},
        "${input.text" + " | join('', [@,@])" * 40 + "}",
        "${input.text | [@,@]" + "[] | [@,@]" * 40 + "}",
        "${input" + " | {a: @, b: @}" * 30 + "}",
        f"${{length(to_string(input{DOUBLED}))}}",
        f"${{(input{DOUBLED}) == (input.text{DOUBLED})}}",
        f"${{contains([input.text{DOUBLED}], input{DOUBLED})}}",
        f"n=${{abs(input{DOUBLED})}}",
        "${input.rows | [@,@,@,@,@,@,@,@,@,@] | map(&length(map(&to_string(@), @)), @)}",
        "${join(input.long, input.rows[*].to_string(id))}",
        ["${input.long}"] * 5,
        "${input.long}" * 5,
        [f"${{length(input.rows[?id > `{at}`])}}" for at in range(30)],
    ],
)
def test_a_template_that_would_give_or_take_too_much_has_no_value(template):
    begun = time.process_time()
    with pytest.raises(TemplateError, match="more than"):
        render(template, SCOPE)
    assert time.process_time() - begun < 10, "it stops; what it asks for would take years"


def test_what_went_over_is_named_without_being_repeated():
    with pytest.raises(TemplateError) as caught:
        render(f"${{abs(input.rows) || '{'x' * 5000}'}}", SCOPE)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("failure", [MemoryError, RecursionError])
def test_an_evaluation_that_python_itself_gives_up_has_no_value(monkeypatch, failure):
    def gives_up(*_):
        raise failure

    monkeypatch.setattr(evaluation._FUNCTIONS, "call_function", gives_up)
    with pytest.raises(TemplateError, match=failure.__name__):
        render("${length(input.text)}", SCOPE)


@pytest.mark.parametrize("literal", [r'"\u0000"', r'"\ud800"', "1e999", r'{"a": ["\u0000"]}'])
def test_a_literal_that_cannot_be_sent_or_stored_is_refused(literal):
    with pytest.raises(TemplateError, match="has a literal"):
        render(f"${{`{literal}`}}", SCOPE)


@pytest.mark.parametrize(
    "value", [None, True, 3, -1.5, "", "aé\n", {}, [], {"a": {"b": [1, "x", None]}}, [[[]]], {"": ""}]
)
def test_the_size_of_a_value_is_at_most_the_length_of_its_json(value):
    size, values = measure(value)
    assert values <= size <= len(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) + (value == "")


def test_all_that_an_input_or_an_answer_may_be_is_passed_on_whole():
    rows = [1] * 1_200_000
    assert render({"body": "${input}"}, {"input": rows}) == {"body": rows}
    text = "x" * (LARGEST - 1)
    assert render("${input}", {"input": text}) is text


def test_levels_may_be_those_of_an_answer_and_as_many_around_it():
    value: object = 1
    for _ in range(DEEPEST_VALUE - 1):
        value = [value]
    assert render("${input}", {"input": value}) is value
    with pytest.raises(TemplateError, match=f"more than {DEEPEST_VALUE} levels"):
        render("${input}", {"input": [value]})


# --- what follows from it ---------------------------------------------------------------------------------------------

BOMBED = Request(service="svc", method="POST", path="/b", body={"x": BOMB})


def test_a_do_that_cannot_be_written_down_is_certainly_not_done_and_the_saga_turns_back():
    dialogue = Dialogue(workflow(step("a"), step("b", action=BOMBED)), {"n": 1})
    dialogue.expect("POST svc /a").ok().expect("POST svc /a/undo").ok().ends("COMPENSATED", "undone")
    assert dialogue.saga.failure.outcome == "rejected"
    assert "the call cannot be made" in dialogue.saga.failure.reason


def test_an_undo_that_cannot_be_written_down_parks_the_saga():
    dialogue = Dialogue(workflow(step("a", compensation=BOMBED), step("b")), {"n": 1})
    dialogue.expect("POST svc /a").ok().expect("POST svc /b").given(Rejected("no"))
    assert dialogue.saga.status == "STUCK"
    assert "the undo of a was given up" in dialogue.saga.parked_reason


def test_a_call_that_an_earlier_release_made_due_and_that_cannot_be_written_down_is_not_made(monkeypatch):
    dialogue = Dialogue(
        workflow(step("a"), step("b", action=Request(service="svc", method="POST", path="/b", body="${input}"))),
        {"n": "x" * 500},
    )
    dialogue.expect("POST svc /a").ok().expect("POST svc /b").take_over()
    monkeypatch.setattr(evaluation, "LARGEST", 500)
    dialogue.expire()
    assert [task.path for task in dialogue.tasks()] == ["/b/undo"], "a driver that vanished may have made it"
    dialogue.ok().expect("POST svc /a/undo").ok().ends("COMPENSATED", "undone")


def test_a_message_that_is_too_large_is_not_made():
    with pytest.raises(TemplateError, match="more than"):
        render_message(Publish(topic="t", body={"x": BOMB}), SCOPE)


@pytest.mark.parametrize("field", ["output", "reject_when"])
def test_an_answer_out_of_which_too_much_would_be_made_is_unreadable(field):
    outcome = judge(step("a", **{field: f"${{response{DOUBLED}}}"}), {}, Succeeded({"n": 1}))
    assert isinstance(outcome, Unknown)
    assert "unreadable answer" in outcome.reason


def test_a_reason_repeats_no_megabytes():
    long = {"n": "x" * 1_000_000}
    outcome = judge(step("a", reject_when="${response.n}"), {}, Succeeded(long))
    assert len(outcome.reason) < 500
    refused = judge(step("a", reject_when="${response.n != ''}", reject_reason="${response.n}"), {}, Succeeded(long))
    assert len(refused.reason) == LONGEST_REASON
