"""An input made of its JSON Schema: what the schema proposes, else the least that it takes in what is required.

A beginning for people to go on from: a part that nothing can be made up for, such as one with a pattern, is left out.
"""

from collections.abc import Mapping
from math import ceil, floor
from typing import Any

MISSING = object()
_MOST_PARTS = 200
"""Of an example: a schema may need itself many times over."""
_DEEPEST = 8
_LONGEST_LIST, _LONGEST_TEXT, _LARGEST = 5, 200, 1e12
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def resolved(whole: Mapping[str, Any], schema: Any) -> Any:
    """What a reference inside the whole schema refers to; one that leads elsewhere is left."""
    for _hop in range(_DEEPEST):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: Any = whole
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        schema = found
    return {}


def in_order(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The properties, those that are required first, as `required` has them: a stored object keeps no order of keys."""
    places = {name: place for place, name in enumerate(schema.get("required", ()))}
    return sorted(schema.get("properties", {}).items(), key=lambda part: places.get(part[0], len(places)))


class Example:
    """The example of one schema; `value` is an empty object where there is none."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._whole, self._left = schema, _MOST_PARTS
        found = self._of(schema, 0)
        self.value = {} if found is MISSING else found

    def _of(self, schema: Any, depth: int) -> Any:
        schema, self._left = resolved(self._whole, schema), self._left - 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._left < 0:
            return MISSING
        proposed = _proposed(schema)
        if proposed is not MISSING:
            return proposed
        kinds = schema.get("type")
        kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array":
            return self._list(schema, depth)
        return _least(schema, kind)

    def _object(self, schema: Mapping[str, Any], depth: int) -> Any:
        needed = schema.get("required", ())
        parts = {
            name: self._of(part, depth + 1) if name in needed else _proposed(resolved(self._whole, part))
            for name, part in in_order(schema)
        }
        return {name: value for name, value in parts.items() if value is not MISSING}

    def _list(self, schema: Mapping[str, Any], depth: int) -> Any:
        least = max(int(schema.get("minItems", 0)), 1)
        count = min(least, int(schema.get("maxItems", least)))
        items = [self._of(schema.get("items"), depth + 1) for _ in range(count if count <= _LONGEST_LIST else 0)]
        return items if items and MISSING not in items else MISSING


def _proposed(schema: Any) -> Any:
    """What the schema itself says: its default, its constant, its first example or choice."""
    if not isinstance(schema, dict):
        return MISSING
    if "default" in schema or "const" in schema:
        return schema.get("default", schema.get("const"))
    lists = (schema.get(word) for word in ("examples", "enum"))
    return next((found[0] for found in lists if isinstance(found, list) and found), MISSING)


def _least(schema: Mapping[str, Any], kind: object) -> Any:
    """A plain value that the limits allow."""
    if kind == "string" and "pattern" not in schema and schema.get("minLength", 0) <= _LONGEST_TEXT:
        text = _FORMATS.get(str(schema.get("format")), "text").ljust(int(schema.get("minLength", 0)), "x")
        return text[: int(schema.get("maxLength", len(text)))]
    if kind in {"integer", "number"}:
        return _number(schema, whole=kind == "integer" or "multipleOf" in schema)
    return {"boolean": False, "null": None}.get(str(kind), MISSING)


def _number(schema: Mapping[str, Any], *, whole: bool) -> Any:
    """The least that is allowed; without a least, one, or the most. `whole` is of so many steps."""
    step = schema.get("multipleOf", 1)
    if "minimum" in schema or "exclusiveMinimum" in schema:
        least = schema["minimum"] if "minimum" in schema else schema["exclusiveMinimum"] + step
        found = ceil(least / step) * step if whole and abs(least / step) < _LARGEST else least
    else:
        most = min(schema.get("maximum", step), schema.get("exclusiveMaximum", 2 * step) - step)
        found = floor(most / step) * step if abs(most / step) < _LARGEST else most
    return found
