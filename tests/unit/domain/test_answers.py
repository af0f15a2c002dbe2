"""What an answer means to a step: refusals in a 2xx, outputs that later steps rely on, and what cannot be read."""

import pytest

from domain.outcomes import Succeeded
from tests.support.dialogue import Dialogue, step, workflow

A = "POST svc /a"
FEW = "${response.left < `3`}"


def answered(answer: object, /, **options: object) -> tuple[str, str | None]:
    """Outcome and reason of the one attempt, after this answer."""
    dialogue = Dialogue(workflow(step("a", safe=True, **options)), {"items": [{"id": 7}]}, max_retries=0).ok(answer)
    judged = next(event for event in dialogue.events if event.outcome)
    return judged.outcome, judged.reason


def test_an_answer_is_refused_when_the_step_says_so():
    reason = "only ${response.left} left"
    assert answered({"left": 2}, reject_when=FEW, reject_reason=reason) == ("rejected", "only 2 left")
    assert answered({"left": 3}, reject_when=FEW) == ("succeeded", None)


@pytest.mark.parametrize("left", [None, "2", [], {}])
def test_an_answer_that_is_neither_refused_nor_not_is_unknown(left):
    outcome, reason = answered({"left": left}, reject_when=FEW)
    assert outcome == "unknown"
    assert reason.startswith("unreadable answer: ${response.left < `3`} ")


@pytest.mark.parametrize("said", ["true", 1, 0, "", None])
def test_only_true_and_false_are_a_verdict(said):
    assert answered({"refused": said}, reject_when="${response.refused}")[0] == "unknown"


@pytest.mark.parametrize("reason", ["${response.why}", "because ${response.why}"])
def test_a_certain_refusal_stays_certain_when_its_reason_is_missing(reason):
    refused = answered({"ok": False}, reject_when="${!(response.ok)}", reject_reason=reason)
    assert refused == ("rejected", "refused by the participant")


def test_an_answer_whose_verdict_cannot_be_computed_is_unknown():
    outcome, reason = answered({"lines": 5}, reject_when="${length(response.lines) == `0`}")
    assert outcome == "unknown"
    assert "cannot be evaluated" in reason


@pytest.mark.parametrize("faulty", ["${response.lines[::0]}", "${ceil(to_number(response.huge))}"])
def test_no_expression_over_an_answer_can_break_the_saga(faulty):
    assert answered({"lines": [1, 2], "huge": "inf"}, output={"x": faulty})[0] == "unknown"


@pytest.mark.parametrize(
    ("output", "missing"),
    [
        ({"id": "${response.id}"}, "id"),
        ({"deep": {"id": "${response.id}"}}, "deep.id"),
        ({"list": ["${response.name}", "${response.id}"]}, "list[1]"),
        ("${response.id}", "${response.id}"),
        ({"whole": "${response.none}"}, "whole"),
    ],
)
def test_a_declared_output_that_is_missing_makes_the_answer_unreadable(output, missing):
    assert answered({"name": "x"}, output=output) == ("unknown", f"unreadable answer: it has no {missing}")


def test_a_text_around_a_missing_output_makes_the_answer_unreadable():
    assert answered({}, output={"url": "/x/${response.id}"})[0] == "unknown"


def test_a_fixed_null_and_an_empty_answer_are_fine():
    assert answered({"id": 1}, output={"id": "${response.id}", "note": None}) == ("succeeded", None)
    assert answered(None) == ("succeeded", None)


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_a_declared_output_may_be_empty_but_not_absent(value):
    assert answered({"id": value}, output={"id": "${response.id}"}) == ("succeeded", None)


def test_an_answer_is_read_with_its_item():
    output = {"id": "${item.id}", "name": "${response.name}"}
    dialogue = Dialogue(workflow(step("a", foreach="${input.items}", output=output)), {"items": [{"id": 7}]})
    assert dialogue.given(Succeeded({"name": "x"})).saga.outputs == {"a": [{"id": 7, "name": "x"}]}
