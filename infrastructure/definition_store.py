"""The workflows that can run: those that ship with the product and those that the database keeps, by version.

A stored version never changes, because running sagas were started under it.
"""

import threading
from collections.abc import Iterable
from typing import Any

import jsonschema_rs

from domain.definition import SagaDefinition
from domain.exceptions import DefinitionChanged, DefinitionUnreadable, InputInvalid, WorkflowUnknown
from infrastructure.definition_codec import fingerprint, from_json, states_json, to_json
from infrastructure.models import DefinitionRow

_MASK = "the value"


class DefinitionStore:
    """The definitions by name and version, in memory once they are known."""

    def __init__(self, shipped: Iterable[SagaDefinition]) -> None:
        self._known: dict[tuple[str, int], SagaDefinition] = {(d.name, d.version): d for d in shipped}
        self._validators: dict[tuple[str, int], Any] = {}
        self._lock = threading.Lock()

    def register(self) -> None:
        """Store the shipped versions. Raises DefinitionChanged when one differs from what is stored as its version."""
        rows = DefinitionRow.objects.values_list("name", "version", "content_hash", "content")
        stored = {(name, version): (content_hash, content) for name, version, content_hash, content in rows}
        for key, definition in self._known.items():
            if key not in stored:
                _insert(definition)
            elif not _same(definition, *stored[key]):
                raise DefinitionChanged(
                    f"{key[0]} version {key[1]} was changed after it was stored, and running sagas depend on it; "
                    "put the old content back and publish the new one under the next version"
                )

    def newest(self, name: str) -> SagaDefinition:
        """The newest version. Raises WorkflowUnknown."""
        versions = [version for known, version in self._known if known == name]
        if not versions:
            known = ", ".join(sorted({known for known, _ in self._known}))
            raise WorkflowUnknown(f"there is no workflow {name!r}; there is {known}")
        return self._known[name, max(versions)]

    def version(self, name: str, version: int) -> SagaDefinition:
        """One version, from the database when this process was not shipped with it. Raises WorkflowUnknown."""
        found = self._known.get((name, version))
        if found:
            return found
        content = DefinitionRow.objects.filter(name=name, version=version).values_list("content", flat=True).first()
        if content is None:
            raise WorkflowUnknown(f"there is no version {version} of a workflow {name!r}")
        with self._lock:
            return self._known.setdefault((name, version), from_json(content))

    def all(self) -> list[SagaDefinition]:
        """Every version that is stored, by name and version."""
        for name, version in DefinitionRow.objects.values_list("name", "version"):
            self.version(name, version)
        return [self._known[key] for key in sorted(self._known)]

    def check_input(self, definition: SagaDefinition, given: object) -> None:
        """Raises InputInvalid, with every fault by its path, when the input does not fit the schema."""
        faults: dict[str, list[str]] = {}
        for error in self._validator(definition).iter_errors(given):
            path, message = _fault(error)
            faults.setdefault(path, []).append(message)
        if faults:
            raise InputInvalid(faults)

    def _validator(self, definition: SagaDefinition) -> Any:
        key = (definition.name, definition.version)
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.Draft202012Validator(
                dict(definition.input_schema),
                validate_formats=True,
                mask=_MASK,  # an answer repeats no input: it may be long, or secret
            )
        return self._validators[key]


def _same(definition: SagaDefinition, content_hash: str, content: Any) -> bool:
    """Whether this is what is stored; an earlier release may have written the same in fewer words, or in more."""
    if fingerprint(definition) == content_hash:
        return True
    try:
        return fingerprint(from_json(content)) == fingerprint(definition)
    except DefinitionUnreadable:
        return False


def _insert(definition: SagaDefinition) -> None:
    """Two processes may start at once: the second finds the row, and compares at its next start."""
    row = DefinitionRow(
        name=definition.name,
        version=definition.version,
        content=to_json(definition),
        content_hash=fingerprint(definition),
        states=states_json(definition),
    )
    DefinitionRow.objects.bulk_create([row], ignore_conflicts=True)


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
