"""An example that is made of a schema: what it proposes, and the least that it takes."""

import json

import jsonschema_rs
import pytest

from interfaces.schema_example import Example, in_order

LOAN = {
    "type": "object",
    "required": ["customer", "amount", "term", "payout", "items"],
    "properties": {
        "items": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/item"}},
        "term": {"enum": [12, 24]},
        "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 500, "multipleOf": 0.5},
        "payout": {"type": "string", "format": "date"},
        "customer": {"type": "string", "minLength": 6, "maxLength": 8},
        "note": {"type": "string"},
        "currency": {"type": "string", "default": "EUR"},
    },
    "$defs": {"item": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 3}}}},
}


def test_an_example_has_what_is_required_and_what_is_proposed():
    made = Example(LOAN).value

    assert made == {
        "customer": "textxx", "amount": 0.5, "term": 12, "payout": "2026-01-31", "items": [{"n": 3}, {"n": 3}],
        "currency": "EUR",
    }  # fmt: skip
    assert jsonschema_rs.is_valid(LOAN, made)


def test_what_is_required_comes_first_and_in_its_order():
    assert [name for name, _part in in_order(LOAN)][:5] == LOAN["required"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "maximum": -5},
        {"type": "integer", "exclusiveMinimum": 2},
        {"type": "integer", "minimum": 1.5},
        {"type": "number", "exclusiveMaximum": 0},
        {"type": ["string", "null"], "format": "email"},
        {"type": "boolean"},
        {"const": None},
        {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    ],
    ids=json.dumps,
)
def test_an_example_keeps_the_limits(schema):
    whole = {"type": "object", "required": ["it"], "properties": {"it": schema}}

    assert jsonschema_rs.is_valid(whole, Example(whole).value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"oneOf": [{"type": "string"}]},
        {"type": "array", "minItems": 500, "items": {"type": "string"}},
        {"$ref": "https://elsewhere.example/"},
        True,
    ],
    ids=json.dumps,
)
def test_what_nothing_can_be_made_up_for_is_left_out(schema):
    assert Example({"type": "object", "required": ["it"], "properties": {"it": schema}}).value == {}


def test_a_schema_that_needs_itself_over_and_over_has_an_end():
    names = [f"p{at}" for at in range(20)]

    schema = {"type": "object", "required": names, "properties": {name: {"$ref": "#/$defs/a"} for name in names}}
    assert len(json.dumps(Example({**schema, "$defs": {"a": schema}}).value)) < 5000
