"""The workflows that can run: those that ship with the product and those that the database keeps, by version.

A stored version never changes, because running sagas were started under it. The newest version of a workflow is the
highest that the database has, whoever stored it: the same for every process, whatever that process shipped with.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Max

from application.ports import RELEASE, Publication
from domain.definition import SagaDefinition
from domain.definition_faults import topic_faults
from domain.exceptions import DefinitionChanged, DefinitionInvalid, DefinitionUnreadable, InputInvalid, WorkflowUnknown
from domain.sentences import said
from infrastructure.definition_codec import fingerprint, from_json, states_json, to_json
from infrastructure.input_schema import InputSchema, schema_faults
from infrastructure.models import DefinitionRow

logger = logging.getLogger("saga")

FRESH = 1.0
"""Seconds for which a process goes by what it last read of a workflow's newest version: a start pays no round trip."""


class DefinitionStore:
    """The definitions by name and version, in memory once they were asked for, which says nothing of the newest."""

    def __init__(self, shipped: Iterable[SagaDefinition], elapsed: Callable[[], float] = time.monotonic) -> None:
        self._shipped: dict[tuple[str, int], SagaDefinition] = {(d.name, d.version): d for d in shipped}
        self._loaded: dict[tuple[str, int], SagaDefinition] = {}
        self._newest: dict[str, tuple[int, float]] = {}
        self._schemas: dict[tuple[str, int], InputSchema] = {}
        self._added: dict[str, int] = {}
        self._lock = threading.Lock()
        self._elapsed = elapsed

    def register(self) -> None:
        """Store the shipped versions. Raises DefinitionChanged when one differs from what is stored as its version,
        and DefinitionInvalid for a new one that speaks through a topic that cannot be.
        """
        rows = DefinitionRow.objects.values_list("name", "version", "content_hash", "content")
        stored = {(name, version): (content_hash, content) for name, version, content_hash, content in rows}
        for key, definition in self._shipped.items():
            if key not in stored:
                _require_topics(definition)
                _insert(definition)
            elif not _same(definition, *stored[key]):
                raise DefinitionChanged(
                    f"{key[0]} version {key[1]} was changed after it was stored, and running sagas depend on it; "
                    "put the old content back and publish the new one under the next version"
                )
        self._newest.clear()

    def add(self, definition: SagaDefinition, by: str) -> bool:
        """Store a version for this actor; False when just this is stored already.

        Raises DefinitionChanged when another content is. This process starts new sagas under it at once, the others
        within a second (`FRESH`).
        """
        try:
            with transaction.atomic():
                _row(definition, by).save(force_insert=True)
        except IntegrityError:
            return self.would_add(definition)
        finally:
            with self._lock:  # whoever is reading the number meanwhile may have the old one, and must not keep it
                self._added[definition.name] = self._added.get(definition.name, 0) + 1
                self._newest.pop(definition.name, None)
        return True

    def would_add(self, definition: SagaDefinition) -> bool:
        """What `add` would answer, or raise; nothing is stored."""
        rows = DefinitionRow.objects.filter(name=definition.name, version=definition.version)
        stored = rows.values_list("content_hash", "content").first()
        if stored and not _same(definition, *stored):
            raise DefinitionChanged(
                f"{definition.name} version {definition.version} is stored with another content, and a stored version "
                "never changes; publish this one under the next number"
            )
        return stored is None

    def publication(self, definition: SagaDefinition) -> Publication | None:
        """Who stored this version, and when; None when it is not stored."""
        rows = DefinitionRow.objects.filter(name=definition.name, version=definition.version)
        found = rows.values_list("published_by", "created_at").first()
        return Publication(*found) if found else None

    def content(self, definition: SagaDefinition) -> dict[str, Any]:
        """The definition as canonical JSON: what is equal has equal texts."""
        return to_json(definition)

    def schema_faults(self, schema: Mapping[str, Any]) -> list[str]:
        """Why this cannot be an input's schema, each as `path: what is wrong`; an empty list when it can."""
        return schema_faults(schema)

    def newest(self, name: str) -> SagaDefinition:
        """The highest version in the database, as of a second ago at most.

        Raises WorkflowUnknown, and DefinitionUnreadable when this release cannot read it: an older version would be
        another workflow than the one that the other processes start.
        """
        return self.version(name, self._newest_version(name))

    def version(self, name: str, version: int) -> SagaDefinition:
        """One version, from the database when this process was not shipped with it.

        Raises WorkflowUnknown, or DefinitionUnreadable.
        """
        found = self._shipped.get((name, version)) or self._loaded.get((name, version))
        if found:
            return found
        content = DefinitionRow.objects.filter(name=name, version=version).values_list("content", flat=True).first()
        if content is None:
            raise WorkflowUnknown(
                said("there is no version %(version)s of a workflow %(name)r", version=version, name=name)
            )
        with self._lock:
            return self._loaded.setdefault((name, version), from_json(content))

    def all(self) -> list[SagaDefinition]:
        """Every stored version that this release can read, by name and version; the log names the others."""
        definitions = []
        for name, version in DefinitionRow.objects.order_by("name", "version").values_list("name", "version"):
            try:
                definitions.append(self.version(name, version))
            except DefinitionUnreadable as error:
                more = {"workflow": name, "version": version, "reason": str(error)}
                logger.warning("unreadable definition", extra=more)
        return definitions

    def _newest_version(self, name: str) -> int:
        version, read_at = self._newest.get(name, (None, 0.0))
        now, added = self._elapsed(), self._added.get(name)
        if version is not None and now - read_at < FRESH:
            return version
        try:
            found: int | None = DefinitionRow.objects.filter(name=name).aggregate(Max("version"))["version__max"]
        except (OperationalError, InterfaceError):
            if version is None:
                raise
            return version  # storing the saga waits for the database to come back, or fails; this need not do it first
        if found is None:
            names = DefinitionRow.objects.order_by("name").values_list("name", flat=True).distinct()
            text = said("there is no workflow %(name)r; there is %(known)s", name=name, known=", ".join(names))
            raise WorkflowUnknown(text)
        with self._lock:
            if self._added.get(name) == added:
                self._newest[name] = (found, now)
        return found

    def check_input(self, definition: SagaDefinition, given: object) -> None:
        """Raises InputInvalid, with every fault by its path, when the input does not fit the schema."""
        faults = self._schema(definition).faults(given)
        if faults:
            raise InputInvalid(faults)

    def _schema(self, definition: SagaDefinition) -> InputSchema:
        key = (definition.name, definition.version)
        if key not in self._schemas:
            self._schemas[key] = InputSchema(definition.input_schema)
        return self._schemas[key]


def _require_topics(definition: SagaDefinition) -> None:
    """Raises DefinitionInvalid for a new version that speaks through what no broker could have."""
    faults = topic_faults(definition)
    if faults:
        raise DefinitionInvalid(definition.name, faults)


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
    DefinitionRow.objects.bulk_create([_row(definition, RELEASE)], ignore_conflicts=True)


def _row(definition: SagaDefinition, by: str) -> DefinitionRow:
    return DefinitionRow(
        name=definition.name,
        version=definition.version,
        content=to_json(definition),
        content_hash=fingerprint(definition),
        states=states_json(definition),
        published_by=by,
    )
