"""A definition as JSON and back without loss, and its fingerprint."""

import hashlib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Final

import msgspec

from domain.definition import SagaDefinition
from domain.exceptions import DefinitionInvalid, DefinitionUnreadable
from domain.sentences import said

_SORTED: Final = "deterministic"
"""Names in bodies and schemas are free, and the database keeps no order of them: what is the same has the same text."""


def to_json(definition: SagaDefinition) -> dict[str, Any]:
    """The definition as JSON values.

    What it does not make use of (a field whose default is nothing) is not written: an earlier release, which may not
    know the field, can read it then. Every other default is, since a later release may have another.
    """
    built: dict[str, Any] = _plain(definition)
    return built


def from_json(content: Any) -> SagaDefinition:
    """The definition that `to_json` gave, of this release or an earlier one. Raises DefinitionUnreadable.

    A field that is missing has its default: it was written before there was that field. A field that is not known here
    was written by a later release, and a saga run without it would not be the saga that was asked for.
    """
    try:
        definition = msgspec.convert(content, SagaDefinition)
    except (msgspec.ValidationError, DefinitionInvalid) as error:
        raise DefinitionUnreadable(said("This release cannot read the definition: %(why)s", why=error)) from error
    unknown = list(_unknown(content, msgspec.to_builtins(definition)))
    if unknown:
        text = said("This release does not know %(names)s; a later one stored it.", names=", ".join(unknown))
        raise DefinitionUnreadable(text)
    return definition


def fingerprint(definition: SagaDefinition) -> str:
    """SHA-256 of the definition's canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(to_json(definition), order="deterministic")).hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        said = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: _plain(part) for field, part in said if not _says_nothing(field, part)}
    return [_plain(part) for part in value] if isinstance(value, tuple) else msgspec.to_builtins(value, order=_SORTED)


def _says_nothing(field: Field[Any], value: Any) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return not value and value == default


def _unknown(content: Any, understood: Any, path: str = "") -> Iterator[str]:
    """Where the content says something that is not in what was understood of it."""
    if isinstance(content, dict) and isinstance(understood, dict):
        for name, part in content.items():
            place = f"{path}.{name}".lstrip(".")
            if name in understood:
                yield from _unknown(part, understood[name], place)
            else:
                yield place
    elif isinstance(content, list) and isinstance(understood, list | tuple):
        for index, (part, other) in enumerate(zip(content, understood, strict=True)):
            yield from _unknown(part, other, f"{path}[{index}]")


def states_json(definition: SagaDefinition) -> dict[str, list[str]]:
    """The possible pairs of status and state, as the database's trigger reads them."""
    return {status.value: sorted(states) for status, states in definition.states_by_status().items()}
