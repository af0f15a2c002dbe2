"""A definition out of JSON that somebody wrote: strict, and with every fault named by its path at once.

The shape is that of the dataclasses in domain/definition.py, read from their types, so that a field which is added
there can be written here. Where the shape is wrong a placeholder goes on in its stead: what is wrong elsewhere is
found in the same go.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from domain.definition import SagaDefinition
from domain.exceptions import DefinitionInvalid

_NOUNS: Mapping[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    NoneType: "null",
    Mapping: "an object",
    tuple: "a list",
}
_IN_JSON: Mapping[Any, type] = {Mapping: dict, tuple: list}
_PLACEHOLDERS: Mapping[Any, Any] = {bool: False, int: 1, float: 1.0, NoneType: None, tuple: (), Any: None}


def read_definition(content: Any) -> SagaDefinition:
    """The definition that this JSON says. Raises DefinitionInvalid; each of its faults begins with its path."""
    reading = _Reading()
    if not isinstance(content, dict):
        reading.value(content, Mapping, "definition")
        raise DefinitionInvalid(_name(content), reading.faults)
    try:
        definition = reading.value(content, SagaDefinition, "")
    except DefinitionInvalid as error:
        found = [_as_in(content, fault) for fault in error.faults]
        more = [fault for fault in found if reading.speaks_elsewhere(fault)]
        raise DefinitionInvalid(_name(content), [*reading.faults, *more]) from None
    if reading.faults:
        raise DefinitionInvalid(_name(content), reading.faults)
    assert isinstance(definition, SagaDefinition)
    return definition


def faults_by_path(faults: Iterable[str]) -> dict[str, list[str]]:
    """`{path: what is wrong there}` of faults that read `path: what is wrong`."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        path, _, message = fault.partition(": ")
        found.setdefault(path, []).append(message)
    return found


class _Reading:
    """One go through the content: the values, and the faults in their order."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._number = 0

    def value(self, given: Any, kind: Any, path: str) -> Any:
        """What was given, as this type; a placeholder and a fault where it is not."""
        plain = _plain(kind)
        if get_origin(kind) in {Union, UnionType}:
            return self._one_of(given, get_args(kind), path)
        if plain is float and type(given) is int:
            return self._float(given, path)
        if kind is not Any and type(given) is not _IN_JSON.get(plain, plain):
            return self._wrong(given, [kind], path)
        if is_dataclass(kind):
            return self._object(given, kind, path)
        if plain is tuple:
            return tuple(self.value(part, get_args(kind)[0], f"{path}[{at}]") for at, part in enumerate(given))
        return given

    def speaks_elsewhere(self, fault: str) -> bool:
        """Whether a fault found afterwards is one of what was given, and does not follow from one found before."""
        path, _, message = fault.partition(": ")
        wrong = [own.partition(": ")[0] for own in self.faults]
        follows = any(_follows(path, message, own) for own in wrong)
        return not follows and not any(_within(path, own) or _within(own, path) for own in wrong)

    def _object(self, given: dict[str, Any], kind: Any, path: str) -> Any:
        types, known = _types(kind), {field.name: field for field in fields(kind)}
        for name in given:
            if name not in known:
                self.faults.append(f"{_at(path, name)}: is not a field; there is {', '.join(known)}")
        built = {}
        for name, field in known.items():
            where = _at(path, name)
            if name in given:
                before = len(self.faults)
                value = self.value(given[name], types[name], where)
                if len(self.faults) == before or _is_required(field) or not self._is_placeholder(value, types[name]):
                    built[name] = value
            elif _is_required(field):
                self.faults.append(f"{where}: is required")
                built[name] = self._placeholder(types[name])
        return kind(**built)

    def _one_of(self, given: Any, kinds: tuple[Any, ...], path: str) -> Any:
        """A union: of the objects that it may be, the one with which the least is wrong."""
        if given is None and NoneType in kinds:
            return None
        kinds = tuple(kind for kind in kinds if kind is not NoneType)
        objects = [kind for kind in kinds if is_dataclass(kind)]
        if isinstance(given, dict) and objects:
            return self._object(given, min(objects, key=lambda kind: _strangeness(given, kind)), path)
        for kind in kinds:
            if type(given) is _plain(kind) or (kind is float and type(given) is int):
                return self.value(given, kind, path)
        return self._wrong(given, list(kinds), path)

    def _float(self, given: int, path: str) -> float:
        try:
            return float(given)
        except OverflowError:
            self.faults.append(f"{path}: is too large")
            return 1.0

    def _wrong(self, given: Any, kinds: list[Any], path: str) -> Any:
        wanted = " or ".join(dict.fromkeys(_NOUNS[_plain(kind)] for kind in kinds))
        found = _NOUNS.get(Mapping if isinstance(given, dict) else tuple if isinstance(given, list) else type(given))
        self.faults.append(f"{path}: must be {wanted}, not {found}")
        return self._placeholder(kinds[0])

    def _placeholder(self, kind: Any) -> Any:
        """Something of this type that nothing else can stumble over."""
        if get_origin(kind) in {Union, UnionType}:
            return self._placeholder(get_args(kind)[0])
        plain: Any = _plain(kind)
        if plain is str:
            self._number += 1
            return f"placeholder{self._number}"
        if plain is Mapping:
            return self._made_up(kind) if is_dataclass(kind) else {"type": "object"}
        return _PLACEHOLDERS[plain]

    def _made_up(self, kind: Any) -> Any:
        types = _types(kind)
        return kind(**{f.name: self._placeholder(types[f.name]) for f in fields(kind) if _is_required(f)})

    def _is_placeholder(self, value: Any, kind: Any) -> bool:
        """Whether the whole value is one, and not only a part of it; then the field's default does better."""
        return not isinstance(value, tuple) and not any(is_dataclass(each) for each in (kind, *get_args(kind)))


_PLACE = re.compile(r"steps\[(\d+)\]")
_MADE_UP = re.compile(r"^ \(placeholder\d+\)")
_MADE_UP_OUTPUT = re.compile(r", steps\.placeholder\d+")
_NAMES_A_STEP = re.compile(r"steps|steps\[\d+\](\.name)?")
_FOLLOWERS = {
    "foreach": ("reads 'item', which is not known here", "only a foreach step has items"),
    "inquiry": ("needs the step's output",),
}
"""What is said of a step that has not this field."""


def _as_in(content: Any, fault: str) -> str:
    """`steps[1].action.path: ...` of `steps[1] (pay).action.path: ...`: the path as it is in the content."""
    found = _PLACE.match(fault)
    if not found:
        return fault
    step, rest = content["steps"][int(found[1])], fault[found.end() :]
    called = f" ({step.get('name')})" if isinstance(step, dict) else ""
    rest = rest.removeprefix(called) if called and rest.startswith(called) else _MADE_UP.sub("", rest)
    return fault[: found.end()] + _MADE_UP_OUTPUT.sub("", rest)


def _follows(path: str, message: str, wrong: str) -> bool:
    """Whether a fault is there only because something else, at `wrong`, could not be read."""
    if _NAMES_A_STEP.fullmatch(wrong) and message.endswith("which is not an earlier step"):
        return True
    step = _PLACE.match(wrong)
    if not step or not _within(path, step[0]):
        return False
    field = wrong[step.end() + 1 :].partition(".")[0]
    return any(said in message for said in _FOLLOWERS.get(field, ()))


def _within(path: str, outer: str) -> bool:
    return path == outer or (path.startswith(outer) and path[len(outer)] in ".[")


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _name(content: Any) -> str:
    name = content.get("name") if isinstance(content, dict) else None
    return name if isinstance(name, str) else "unnamed"


def _strangeness(given: dict[str, Any], kind: Any) -> int:
    known = {field.name: field for field in fields(kind)}
    unknown = sum(name not in known for name in given)
    return unknown + sum(name not in given for name, field in known.items() if _is_required(field))


def _is_required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _plain(kind: Any) -> Any:
    """The type itself, without its arguments: `Mapping` of `Mapping[str, Any]`."""
    if is_dataclass(kind):
        return Mapping
    origin = get_origin(kind)
    return Mapping if isinstance(origin, type) and issubclass(origin, Mapping) else origin or kind


@cache
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
