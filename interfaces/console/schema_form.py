"""A form made of a JSON Schema, and the value that was entered into it. It judges nothing: the schema's own check does.

A field's name is its path in the value, as faults name it: `lignes[0].quantite`. What a form cannot express (a choice
of shapes, any keys) is a field for JSON. An empty field is a value that is not there.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError

from interfaces.schema_example import MISSING, in_order, resolved
from interfaces.wire import strict_json

MOST_ITEMS = 500
"""Of a list, in a form: a browser sends no more fields than Django takes."""
MOST_FIELDS = 1000
"""Of a form whose lists are empty: what is deeper is then one field for JSON."""
_DEEPEST = 8
_TEXTS = {"date": "date", "email": "email", "uri": "url"}
"""Formats for which browsers have a field of their own; the others are texts."""
_BEYOND = {
    "$dynamicRef", "allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "patternProperties", "then",
}  # fmt: skip
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Unread:
    """What was entered as JSON and is none."""

    text: str


@dataclass(slots=True)
class Field:
    """One field as it is drawn; an object and a list have `children`."""

    path: str
    label: str
    kind: str
    required: bool
    hint: str = ""
    value: str = ""
    faults: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str]] = field(default_factory=list)
    choices: list[tuple[str, str]] = field(default_factory=list)
    children: list["Field"] = field(default_factory=list)
    grows: bool = False
    shrinks: bool = False

    @property
    def id(self) -> str:
        """Of its element."""
        return "f-" + re.sub(r"[^A-Za-z0-9]+", "-", self.path)

    @property
    def items(self) -> list[tuple[str, "Field"]]:
        """Of a list: each with the path that removes it."""
        return [(child.path, child) for child in self.children]


class SchemaForm:
    """The form of one schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._whole = schema
        depths = range(_DEEPEST, 0, -1)
        self._deepest = next((depth for depth in depths if self._size(schema, depth, MOST_FIELDS) <= MOST_FIELDS), 0)

    def expressible(self) -> bool:
        """Whether its fields say anything that JSON would not."""
        return self._deepest > 0 and _kind(self._resolved(self._whole)) == "object"

    def draw(self, value: Any, faults: Mapping[str, list[str]]) -> tuple[Field, dict[str, list[str]]]:
        """The fields with this value in them and the faults at them, and the faults that are at none."""
        left = dict(faults)
        root = self._field(self._whole, "", "", value, required=True, faults=left, depth=0)
        return root, left

    def read(self, given: Mapping[str, Any]) -> tuple[Any, dict[str, list[str]]]:
        """The value that was entered, and what is not even readable, by its path."""
        faults: dict[str, list[str]] = {}
        found = self._value(self._whole, "", given, faults, required=True, depth=0)
        return ({} if found is MISSING else found), faults

    # --- drawing

    def _field(
        self,
        schema: Any,
        path: str,
        label: str,
        value: Any,
        *,
        required: bool,
        faults: dict[str, list[str]],
        depth: int,
    ) -> Field:
        schema = self._resolved(schema)
        kind = _kind(schema) if depth < self._deepest else "json"
        about = schema if isinstance(schema, dict) else {}
        drawn = Field(path, str(about.get("title") or label), kind, required, str(about.get("description") or ""))
        drawn.faults = faults.pop(path or "input", []) if kind != "object" or path else []
        if kind == "object":
            needed = about.get("required", ()) if required or isinstance(value, dict) else ()
            held = value if isinstance(value, dict) else {}
            drawn.children = [
                self._field(
                    part, f"{path}.{name}".lstrip("."), name, held.get(name, MISSING),
                    required=name in needed, faults=faults, depth=depth + 1,
                )
                for name, part in in_order(about)
            ]  # fmt: skip
        elif kind == "list":
            self._draw_list(drawn, about, value, faults, depth)
        else:
            drawn.value, drawn.choices = _written(value, kind), _choices(about, kind)
            drawn.attributes = _attributes(about, kind)
        return drawn

    def _draw_list(self, drawn: Field, schema: Any, value: Any, faults: dict[str, list[str]], depth: int) -> None:
        """Its items, as many as the value has; without one, as many as it must have."""
        fixed, least = schema.get("prefixItems", []), max(schema.get("minItems", 0), int(drawn.required))
        held = value if isinstance(value, list) else [MISSING] * min(least, MOST_ITEMS)
        most = min(schema.get("maxItems", MOST_ITEMS), MOST_ITEMS)
        for place, item in enumerate(held):
            part = fixed[place] if place < len(fixed) else schema.get("items", {})
            label = f"{drawn.label} {place + 1}"
            drawn.children.append(
                self._field(part, f"{drawn.path}[{place}]", label, item, required=True, faults=faults, depth=depth + 1)
            )
        drawn.grows = len(held) < most and "items" in schema and schema["items"] is not False
        drawn.shrinks = len(held) > max(schema.get("minItems", 0), len(fixed))

    # --- reading

    def _value(
        self,
        schema: Any,
        path: str,
        given: Mapping[str, Any],
        faults: dict[str, list[str]],
        *,
        required: bool,
        depth: int,
    ) -> Any:
        schema = self._resolved(schema)
        kind = _kind(schema) if depth < self._deepest else "json"
        if kind == "object":
            found = {
                name: self._value(
                    part, f"{path}.{name}".lstrip("."), given, faults,
                    required=name in schema.get("required", ()), depth=depth + 1,
                )
                for name, part in schema["properties"].items()
            }  # fmt: skip
            held = {name: value for name, value in found.items() if value is not MISSING}
            return held if held or required else MISSING
        if kind == "list":
            items = self._items(schema, path, given, faults, depth)
            return items if items or required else MISSING
        return _entered(given.get(f"input.{path}", ""), kind, path, faults)

    def _items(
        self, schema: Any, path: str, given: Mapping[str, Any], faults: dict[str, list[str]], depth: int
    ) -> list[Any]:
        text, fixed = given.get(f"count.{path}", "0"), schema.get("prefixItems", [])
        count = min(int(text), MOST_ITEMS) if re.fullmatch("[0-9]{1,4}", text) else 0
        parts = [fixed[place] if place < len(fixed) else schema.get("items", {}) for place in range(count)]
        found = [
            self._value(part, f"{path}[{place}]", given, faults, required=True, depth=depth + 1)
            for place, part in enumerate(parts)
        ]
        return ["" if value is MISSING else value for value in found]

    # --- the schema

    def _size(self, schema: Any, depth: int, most: int) -> int:
        """How many fields it has down to a depth, lists with as many items as they must have; counted up to `most`."""
        schema = self._resolved(schema)
        kind, found = _kind(schema) if depth else "json", 1
        if kind == "object":
            parts = [(1, part) for part in schema["properties"].values()]
        elif kind == "list":
            least = max(1, min(schema.get("minItems", 0), MOST_ITEMS))
            parts = [*((1, part) for part in schema.get("prefixItems", [])), (least, schema.get("items", {}))]
        else:
            parts = []
        for times, part in parts:
            found += times * self._size(part, depth - 1, most - found)
            if found > most:
                break
        return found

    def _resolved(self, schema: Any) -> Any:
        return resolved(self._whole, schema)


def after(value: Any, path: str, *, adds: bool) -> None:
    """Give the list at this path one more item, or take the item at it away; what is not there changes nothing."""
    keys = [int(match[2]) if match[2] else match[1] for match in re.finditer(r"([^.\[\]]+)|\[(\d+)\]", path)]
    *way, last = keys or [""]
    try:
        for key in way:
            value = value.setdefault(key, {}) if isinstance(value, dict) else value[key]
        if adds:
            held = value.setdefault(last, []) if isinstance(value, dict) else value[last]
            held.append(MISSING)
        else:
            del value[last]
    except (AttributeError, IndexError, KeyError, TypeError):
        return


def _kind(schema: Any) -> str:
    """What expresses it: object, list, choice, flag, number, integer, text and its formats, or json."""
    if not isinstance(schema, dict) or _BEYOND & schema.keys() or "$ref" in schema:
        return "json"
    if isinstance(schema.get("enum"), list) or "const" in schema:
        return "choice"
    kind = schema.get("type")
    if kind == "object":
        return "object" if isinstance(schema.get("properties"), dict) and schema["properties"] else "json"
    if kind == "array":
        return "list" if "items" in schema or "prefixItems" in schema else "json"
    if kind == "string":
        return _TEXTS.get(str(schema.get("format")), "text")
    return {"boolean": "flag", "integer": "integer", "number": "number"}.get(str(kind), "json")


def _choices(schema: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """What can be chosen: the value as JSON, and as it is shown."""
    if kind == "flag":
        return [("true", _("yes")), ("false", _("no"))]
    values = schema.get("enum", [schema["const"]] if "const" in schema else []) if kind == "choice" else []
    return [(_json(value), value if isinstance(value, str) else _json(value)) for value in values]


def _attributes(schema: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """What the browser checks as well."""
    if kind in {"integer", "number"}:
        step = 1 if kind == "integer" else schema.get("multipleOf", "any")
        named = {"min": schema.get("minimum"), "max": schema.get("maximum"), "step": step}
    elif kind in {"text", "email", "url"}:
        named = {"minlength": schema.get("minLength"), "maxlength": schema.get("maxLength")}
        if schema.get("format") in {"uuid", "date-time"}:
            named["placeholder"] = {"uuid": "00000000-0000-0000-0000-000000000000"}.get(
                schema["format"], "2026-01-31T12:00:00Z"
            )
    else:
        named = {}
    return [(name, str(value)) for name, value in named.items() if value is not None]


def _written(value: Any, kind: str) -> str:
    """A value as its field shows it."""
    if value is MISSING:
        return ""
    if isinstance(value, Unread):
        return value.text
    if kind == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    return _json(value) if kind in {"choice", "flag"} or not isinstance(value, str) else value


def _entered(text: str, kind: str, path: str, faults: dict[str, list[str]]) -> Any:
    """The value of a field. What is no number stays a text, so that the schema says what is wrong with it."""
    if not text.strip():
        return MISSING
    if kind in {"integer", "number"}:
        text = text.strip()
        if not _NUMBER.fullmatch(text):
            return text
    if kind in {"choice", "flag", "integer", "json", "number"}:
        try:
            return read_json(text)
        except ValueError as error:
            if kind == "json":
                faults[path or "input"] = [str(error)]
                return Unread(text)
    return text.replace("\r\n", "\n")


def read_json(text: str) -> Any:
    """JSON as the API reads it. Raises ValueError."""
    try:
        return strict_json(text.encode())
    except ParseError as error:
        raise ValueError(str(error)) from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
