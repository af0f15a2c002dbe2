"""What an input must be, checked within bounds of time and memory, whatever the schema and the input are."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import jsonschema_rs

from infrastructure.schema_cost import MOST_VALUES, SchemaCost, TooManyChecks

LISTED = 50
"""Faults that are named; that there are more is said."""
LISTABLE = 100_000
"""Checks up to which all faults are looked for: the library makes all of them before it gives the first, with those of
every branch that an `anyOf` has, at ten microseconds and a kilobyte each."""
MOST_WORK = 50_000_000
"""Checks up to which an input is checked at all: about a second."""
LONGEST = 500
"""Characters of a fault, or of its path: either may repeat what the schema or the input has."""
_MASK = "the value"


class InputSchema:
    """A workflow's input schema. Raises ValueError for a schema that is none."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._refused: str | None = None
        try:
            self._cost = SchemaCost(schema)
        except TooManyChecks as error:  # published under a release that did not count
            self._refused = f"cannot be checked, since the schema of this version asks for too much: {error}"
        else:
            self._validator = compiled(schema)

    def faults(self, given: object) -> dict[str, list[str]]:
        """What is wrong with an input, by its path; nothing when it fits."""
        work = 0 if self._refused else self._cost.checks * count(given)
        if self._refused or work > MOST_WORK:
            return {"input": [self._refused or "is too large to be checked"]}
        if self._validator.is_valid(given):
            return {}
        if work <= LISTABLE:
            return _by_path(self._validator.iter_errors(given))
        if self._cost.has_alternatives:
            return {"input": ["does not fit the schema, and is too large to say where"]}
        return self._first(given)

    def _first(self, given: object) -> dict[str, list[str]]:
        """The fault that is found first, without all the others."""
        try:
            self._validator.validate(given)
        except jsonschema_rs.ValidationError as error:
            found = _by_path([error])
            found.setdefault("input", []).append("is too large to say whether there is more")
            return found
        return {}


def schema_faults(schema: Mapping[str, Any]) -> list[str]:
    """Why this cannot be an input's schema, each as `path: what is wrong`; an empty list when it can."""
    if count(schema) > MOST_VALUES:
        return [f"input_schema: has more than {MOST_VALUES} values"]
    errors = islice(_META.iter_errors(schema), LISTED)
    faults = [f"{_path(['input_schema', *error.instance_path])}: {error.message[:LONGEST]}" for error in errors]
    if faults:
        return faults
    try:
        compiled(schema)
        SchemaCost(schema)
    except ValueError as error:  # a reference to nowhere, or to another host
        return [f"input_schema: {str(error).splitlines()[0]}"]
    except TooManyChecks as error:
        return [str(error)]
    return []


def compiled(schema: Mapping[str, Any]) -> Any:
    """What checks an input. Raises ValueError for a schema that is none."""
    return jsonschema_rs.Draft202012Validator(
        dict(schema),
        validate_formats=True,
        mask=_MASK,  # an answer repeats no input: it may be long, or secret
        offline=True,  # a reference in a schema makes this process read no file, and ask no other host
    )


_META = jsonschema_rs.Draft202012Validator(
    {"$ref": "https://json-schema.org/draft/2020-12/schema"}, validate_formats=True, offline=True
)


def count(value: object) -> int:
    """How many values a JSON value has, itself included."""
    found, left = 0, [value]
    while left:
        each = left.pop()
        found += 1
        if isinstance(each, dict | list):
            left += each.values() if isinstance(each, dict) else each
    return found


def _by_path(errors: Iterable[Any]) -> dict[str, list[str]]:
    """The first faults by their paths; one that says that there are more, if there are."""
    faults: dict[str, list[str]] = {}
    for number, error in enumerate(errors):
        if number == LISTED:
            faults.setdefault("input", []).append(f"there are more than these {LISTED}")
            break
        path, message = _fault(error)
        faults.setdefault(path[:LONGEST], []).append(message[:LONGEST])
    return faults


def _fault(error: Any) -> tuple[str, str]:
    """The field at fault and what is wrong with it; a missing field is named itself, not its parent."""
    path = list(error.instance_path)
    if error.kind.name == "required":
        return _path([*path, error.kind.property]), "is required"
    return _path(path), error.message.removeprefix(f"{_MASK} ")


def _path(parts: list[str | int]) -> str:
    """`lignes[0].quantite`; the empty path is the input itself."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "input"
