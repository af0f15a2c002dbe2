"""A definition that somebody wrote as JSON is read strictly: all of it, and nothing else."""

import json
from copy import deepcopy

import pytest

from domain.definition_reader import faults_by_path, read_definition
from domain.exceptions import DefinitionInvalid
from infrastructure.definition_codec import to_json
from tests.unit.infrastructure.test_definition_codec import ALL, WHOLE

CONTENT = json.loads(json.dumps(to_json(WHOLE)))


def faults(change):
    content = deepcopy(CONTENT)
    change(content)
    with pytest.raises(DefinitionInvalid) as caught:
        read_definition(content)
    return faults_by_path(caught.value.faults)


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.name)
def test_what_is_written_canonically_is_read_back_as_it_was(definition):
    assert read_definition(json.loads(json.dumps(to_json(definition)))) == definition


def test_a_number_of_seconds_may_be_whole_and_null_is_what_is_not_said():
    content = deepcopy(CONTENT)
    content["deadline"], content["steps"][1]["compensation"] = 12, None

    assert read_definition(content).deadline == 12.0
    assert isinstance(read_definition(content).deadline, float)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([], "definition: must be an object, not a list"),
        (None, "definition: must be an object, not null"),
        ("loan", "definition: must be an object, not a text"),
    ],
)
def test_a_definition_is_an_object(content, fault):
    with pytest.raises(DefinitionInvalid) as caught:
        read_definition(content)
    assert caught.value.faults == (fault,)


def test_an_empty_object_lacks_every_field_that_has_no_default():
    with pytest.raises(DefinitionInvalid) as caught:
        read_definition({})
    assert {fault.removesuffix(": is required") for fault in caught.value.faults} == {
        "name", "version", "steps", "initial_state", "completed_state", "compensating_state", "compensated_state",
        "failed_state",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("concurrency", 1.5, "must be a whole number, not a number"),
        ("concurrency", True, "must be a whole number, not true or false"),
        ("safe", 1, "must be true or false, not a whole number"),
        ("when", ["${input.wanted}"], "must be a text, not a list"),
        ("retry", [], "must be an object, not a list"),
        ("compensation", "POST /undo", "must be an object, not a text"),
        ("reject_reason", None, "must be a text, not null"),
    ],
)
def test_a_value_of_another_kind_is_refused_and_nothing_that_follows_from_it(name, value, fault):
    assert faults(lambda content: content["steps"][0].update({name: value})) == {f"steps[0].{name}": [fault]}


def test_names_to_mask_are_a_list_of_texts():
    assert faults(lambda content: content.update(masked=["seat", 1])) == {
        "masked[1]": ["must be a text, not a whole number"]
    }
    assert faults(lambda content: content.update(masked="seat")) == {"masked": ["must be a list, not a text"]}


def test_business_ids_are_texts_by_name():
    assert faults(lambda content: content["business_ids"].update(flight=7)) == {
        "business_ids.flight": ["must be a text"]
    }
    assert faults(lambda content: content.update(business_ids=[])) == {
        "business_ids": ["must be an object, not a list"]
    }


def test_a_step_without_a_name_is_the_only_thing_wrong_with_those_that_read_it():
    def change(content):
        content["steps"][2]["action"]["body"] = {"id": "${steps.book}", "x": "${steps.nobody}"}
        del content["steps"][0]["name"]

    assert faults(change) == {"steps[0].name": ["is required"]}


@pytest.mark.parametrize("field", ["foreach", "inquiry"])
def test_what_a_field_of_the_wrong_shape_would_have_allowed_is_not_wrong_besides(field):
    def change(content):
        content["steps"][0]["compensation"]["body"]["id"] = "${steps.book.id}"
        content["steps"][0][field] = 7

    assert set(faults(change)) == {f"steps[0].{field}"}


@pytest.mark.parametrize("step", [None, 7, "book"])
def test_a_step_that_is_none_is_named_without_what_stands_in_for_it(step):
    def change(content):
        content["steps"][0] = step
        content["steps"][-1]["action"]["path"] = "/${item}"

    found = faults(change)
    assert set(found) == {"steps[0]", f"steps[{len(CONTENT['steps']) - 1}].action.path"}
    assert "placeholder" not in str(found)


def test_what_is_wrong_elsewhere_is_named_beside_what_has_the_wrong_shape():
    def change(content):
        content["steps"][0]["action"].update(timeout="5", path="a")
        content["steps"][2].update(name="2nd", extra=1)
        content["steps"][2]["action"]["method"] = "FETCH"

    found = faults(change)
    assert list(found) == ["steps[0].action.timeout", "steps[2].extra", "steps[0].action.path", "steps[2].name",
                           "steps[2].action.method"]  # fmt: skip
    assert "there is name, action, publish" in found["steps[2].extra"][0]


@pytest.mark.parametrize("name", ["a) b", "(x).y: z", "", "a\nb"])
def test_a_path_is_found_also_where_the_steps_name_is_odd(name):
    assert set(faults(lambda content: content["steps"][2].update(name=name))) == {"steps[2].name"}
