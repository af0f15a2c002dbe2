"""A definition survives JSON without loss, and its fingerprint tells any two apart."""

import json
import re
from dataclasses import fields, replace

import pytest

from domain.definition import Await, Publish, Request, RetryPolicy, SagaDefinition, Step
from domain.exceptions import DefinitionUnreadable
from domain.workflows import shipped_definitions
from infrastructure.definition_codec import fingerprint, from_json, states_json, to_json

WHOLE = SagaDefinition(
    name="whole",
    version=7,
    title="Every field",
    input_schema={"type": "object", "required": ["lines"]},
    deadline=12.5,
    masked=("address", "seat"),
    business_ids={"flight": "${input.flight}", "booking": "B-${steps.book[0].id}"},
    initial_state="NEW",
    completed_state="DONE",
    compensating_state="TURNING",
    compensated_state="UNDONE",
    failed_state="REFUSED",
    steps=(
        Step(
            name="book",
            action=Request(
                service="flights",
                method="PUT",
                path="/a/${item.id}",
                query={"q": "${saga.id}"},
                body={"n": ["${item}"]},
                timeout=2.0,
            ),
            compensation=Request(service="flights", method="POST", path="/undo", body={"undo_of": "${saga.do_key}"}),
            inquiry=Request(service="flights", method="GET", path="/outcome", query={"key": "${saga.do_key}"}),
            when="${input.wanted}",
            foreach="${input.lines}",
            concurrency=4,
            reject_when="${response.left < `1`}",
            reject_reason="only ${response.left}",
            output={"id": "${response.id}"},
            running_state="BOOKING",
            done_state="BOOKED",
            failed_state="NOT_BOOKED",
            retry=RetryPolicy(max_retries=1, base=0.1, factor=3.0, cap=2.0),
            undo_retry=RetryPolicy(max_retries=9, base=1.0, factor=1.5, cap=60.0),
        ),
        Step(
            name="announce",
            publish=Publish(topic="news", body={"of": "${saga.id}"}),
            awaits=Await(topic="answers", types=("yes", "no"), timeout=9.0),
            undo_publish=Publish(topic="news", body={"undo_of": "${saga.do_key}"}),
        ),
        Step(name="pay", action=Request(service="payments", method="POST", path="/pay"), pivot=True),
        Step(name="tell", action=Request(service="mail", method="POST", path="/tell"), safe=True),
    ),
)  # fmt: skip
ALL = [WHOLE, *shipped_definitions()]


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.name)
def test_a_definition_comes_back_as_it_was(definition):
    back = from_json(json.loads(json.dumps(to_json(definition))))

    assert back == definition
    assert fingerprint(back) == fingerprint(definition)


def test_every_field_is_another_than_its_default():
    """Else the test above would not notice that a field is lost."""
    unset = SagaDefinition(
        **{name: getattr(WHOLE, name) for name in (
            "name", "version", "steps", "initial_state", "completed_state", "compensating_state", "compensated_state",
            "failed_state",
        )}
    )  # fmt: skip
    plain = Step(name="book", action=WHOLE.steps[0].action, safe=True)
    step = {field.name for field in fields(Step)} - {"name", "action", "safe", "pivot"}

    assert all(
        getattr(WHOLE, name) != getattr(unset, name)
        for name in ("title", "input_schema", "deadline", "masked", "business_ids")
    )
    assert all(any(getattr(each, name) != getattr(plain, name) for each in WHOLE.steps[:2]) for name in step)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 8},
        {"title": "Other"},
        {"deadline": None},
        {"masked": ()},
        {"business_ids": {"flight": "${input.flight}"}},
        {"steps": WHOLE.steps[:2]},
        {"input_schema": {"type": "object"}},
    ],
)
def test_any_change_changes_the_fingerprint(change):
    assert fingerprint(replace(WHOLE, **change)) != fingerprint(WHOLE)


def test_the_order_of_names_does_not_change_the_fingerprint():
    schema, ids = (dict(reversed(each.items())) for each in (WHOLE.input_schema, WHOLE.business_ids))
    turned = replace(WHOLE, input_schema=schema, business_ids=ids)

    assert fingerprint(turned) == fingerprint(WHOLE)


def test_what_is_read_back_is_checked_again():
    content = to_json(WHOLE)
    content["steps"][0]["compensation"] = None

    with pytest.raises(DefinitionUnreadable, match="has no undo"):
        from_json(content)


LATER = {
    "only_when": lambda content: content,
    "steps[1].after": lambda content: content["steps"][1],
    "steps[0].action.headers": lambda content: content["steps"][0]["action"],
    "steps[0].retry.jitter": lambda content: content["steps"][0]["retry"],
}


@pytest.mark.parametrize("field", LATER)
def test_a_field_that_this_release_does_not_know_is_refused_by_name(field):
    content = to_json(WHOLE)
    LATER[field](content)[field.rpartition(".")[2]] = ["x"]

    with pytest.raises(DefinitionUnreadable, match=re.escape(f"This release does not know {field};")):
        from_json(content)


def test_a_value_that_this_release_does_not_know_is_refused():
    content = to_json(WHOLE)
    content["steps"][0]["concurrency"] = "all"

    with pytest.raises(DefinitionUnreadable, match="concurrency"):
        from_json(content)


def test_names_in_bodies_and_schemas_are_free():
    content = to_json(WHOLE)
    content["steps"][0]["action"]["body"] = {"after": None, "deep": [{"only_when": {}}]}
    content["input_schema"]["x-later"] = None

    assert from_json(content).steps[0].action.body == {"after": None, "deep": [{"only_when": {}}]}


def test_a_field_that_was_not_there_when_it_was_stored_has_its_default():
    content = to_json(WHOLE)
    del content["steps"][0]["retry"], content["title"]

    assert from_json(content) == replace(
        WHOLE, title="", steps=(replace(WHOLE.steps[0], retry=RetryPolicy()), *WHOLE.steps[1:])
    )


def test_a_field_that_is_not_made_use_of_is_not_written_so_that_an_earlier_release_can_read_it():
    _, _, pay, _ = to_json(WHOLE)["steps"]

    assert {"masked", "business_ids"}.isdisjoint(to_json(replace(WHOLE, masked=(), business_ids={})))
    assert set(pay) == {"name", "action", "pivot", "concurrency", "reject_reason", "output", "retry", "undo_retry"}
    assert set(pay["action"]) == {"service", "method", "path", "timeout"}


def test_the_possible_states_are_those_of_the_definition():
    states = states_json(WHOLE)

    assert states["COMPLETED"] == ["DONE"]
    assert states["COMPENSATING"] == ["TURNING"]
    assert states["RUNNING"] == ["BOOKED", "BOOKING", "NEW", "NOT_BOOKED"]
