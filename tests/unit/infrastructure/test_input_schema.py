"""An input is checked within bounds, whatever its schema asks for; a schema that asks for too much is no input's."""

import time

import pytest

from domain.workflows import shipped_definitions
from infrastructure.input_schema import LISTED, LONGEST, InputSchema, schema_faults
from infrastructure.schema_cost import LEVELS, LONGEST_CHAIN, MOST_CHECKS, MOST_VALUES, SchemaCost


def doubling(combinator: str, levels: int) -> dict:
    """Definitions that each refer twice to the one before them: 2 ** levels checks of one value."""
    named = {"d0": {"type": "string"}}
    for level in range(1, levels + 1):
        before = {"$ref": f"#/$defs/d{level - 1}"}
        named[f"d{level}"] = {combinator: [before, {"allOf": [before]}]}
    return {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{levels}"}}, "$defs": named}


def of(**named) -> dict:
    """A schema whose field `a` is the definition `a`."""
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": named}


def unevaluated(levels: int) -> dict:
    schema: dict = {"properties": {"z": {}}}
    for _ in range(levels):
        schema = {"anyOf": [schema], "unevaluatedProperties": False}
    return {**schema, "type": "object"}


TWICE_ITSELF = of(a={"oneOf": [{"properties": {"x": {"$ref": "#/$defs/a"}, "y": {}}} for _ in range(2)]})
CHAIN = {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(5000)}
BOMBS = {
    "allOf": (doubling("allOf", 25), "input_schema.$defs.d"),
    "anyOf": (doubling("anyOf", 25), "input_schema.$defs.d"),
    "oneOf": (doubling("oneOf", 25), "input_schema.$defs.d"),
    "unevaluated": (unevaluated(20), "input_schema.anyOf[0]"),
    "branches that both go on": (TWICE_ITSELF, "input_schema.$defs.a"),
    "itself": (of(a={"allOf": [{"$ref": "#/$defs/a"}]}), "input_schema.$defs.a: refers to itself"),
    "chain": (of(a={"$ref": "#/$defs/d0"}, **CHAIN, d5000={}), f"more than {LONGEST_CHAIN} references"),
    "out of it": (of(a={"$ref": "https://json-schema.org/draft/2020-12/schema"}), "$defs.a.$ref: leads out of"),
    "size": (of(a={"enum": list(range(MOST_VALUES))}), f"has more than {MOST_VALUES} values"),
    "clique": (
        of(a={"$ref": "#/$defs/0"}, **{
            str(one): {"properties": {str(other): {"$ref": f"#/$defs/{other}"} for other in range(90)}}
            for one in range(90)
        }),
        "combines more schemas",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_schema_that_asks_for_too_much_is_refused_where_it_does(name):
    schema, fault = BOMBS[name]
    faults = schema_faults(schema)
    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize("name", BOMBS)
def test_one_that_was_stored_before_it_was_counted_checks_nothing_and_hurts_nobody(name):
    begun = time.process_time()
    faults = InputSchema(BOMBS[name][0]).faults({"a": 1})
    assert "asks for too much" in faults["input"][0]
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        *((definition.input_schema, 10) for definition in shipped_definitions()),
        (doubling("anyOf", 8), 2000),
        (of(a={"properties": {"left": {"$ref": "#/$defs/a"}, "right": {"$ref": "#/$defs/a"}}}), 3 * LEVELS),
        (of(a={"anyOf": [  # any JSON
            {"type": ["string", "number", "null"]},
            {"type": "array", "items": {"$ref": "#/$defs/a"}},
            {"type": "object", "additionalProperties": {"$ref": "#/$defs/a"}},
        ]}), 6 * LEVELS),
        ({"type": "object", "properties": {"next": {"$ref": "#"}}}, 3 * LEVELS),
        ({"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(3000)}}, 2),
        ({"$id": "https://a.example/s", "type": "object", "properties": {"a": {"$ref": "https://a.example/s#/$defs/q"}},
          "$defs": {"q": {"type": "string"}}}, 3),
        ({"type": "object", "properties": {"a": {"$ref": "#q"}}, "$defs": {"x": {"$anchor": "q"}}}, 3),
        ({"type": "object", "properties": {"a": {"enum": [f"C{at}" for at in range(250)]}}}, 10),
    ],
)  # fmt: skip
def test_schemas_as_people_write_them_are_far_from_the_bound(schema, most):
    assert schema_faults(schema) == []
    assert SchemaCost(schema).checks <= most < MOST_CHECKS


def test_of_many_faults_the_first_are_named_and_that_there_are_more():
    lines = {"type": "object", "properties": {"lines": {"items": {"type": "string"}}}}
    faults = InputSchema(lines).faults({"lines": list(range(1000))})
    assert len(faults) == LISTED + 1
    assert faults["lines[0]"] == ['is not of type "string"']
    assert faults["input"] == [f"there are more than these {LISTED}"]


def test_as_many_faults_as_are_named_are_all():
    lines = {"type": "object", "properties": {"lines": {"items": {"type": "string"}}}}
    assert len(InputSchema(lines).faults({"lines": list(range(LISTED))})) == LISTED


def test_a_large_input_is_told_its_first_fault_without_looking_for_all():
    schema = InputSchema({"type": "object", "properties": {"lines": {"items": {"type": "string"}}}})
    begun = time.process_time()
    faults = schema.faults({"lines": [1] * 500_000})
    assert time.process_time() - begun < 2
    assert faults == {
        "lines[0]": ['is not of type "string"'],
        "input": ["is too large to say whether there is more"],
    }
    assert schema.faults({"lines": ["x"] * 500_000}) == {}


def test_a_large_input_with_alternatives_is_told_that_it_does_not_fit():
    lists = [{"items": {"type": "string"}}, {"items": {"type": "object"}}]
    schema = InputSchema({"type": "object", "properties": {"lines": {"anyOf": lists}}})
    assert schema.faults({"lines": [1] * 500_000}) == {
        "input": ["does not fit the schema, and is too large to say where"]
    }


def test_an_input_that_would_take_too_long_is_not_checked():
    schema = InputSchema({"type": "object", "properties": {"a": {"items": {"$ref": "#/$defs/d10"}}},
                          "$defs": doubling("anyOf", 10)["$defs"]})  # fmt: skip
    assert schema.faults({"a": [1] * 100_000}) == {"input": ["is too large to be checked"]}


def test_a_fault_repeats_no_long_name():
    schema = InputSchema({"type": "object", "properties": {}, "additionalProperties": False})
    (message,) = schema.faults({"x" * 100_000: 1})["input"]
    assert len(message) <= LONGEST
    texts = InputSchema({"type": "object", "additionalProperties": {"type": "string"}})
    assert max(map(len, texts.faults({"x" * 100_000: 1}))) <= LONGEST
