"""Publish a workflow while the service runs: read it strictly, check what only this installation knows, store it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from application.ports import Definitions
from domain.definition import SagaDefinition
from domain.definition_reader import read_definition
from domain.exceptions import DefinitionInvalid, WorkflowUnknown
from domain.lint import NO_BROKER, Finding, Limits, lint


@dataclass(frozen=True, slots=True)
class Publisher:
    """The use case with what it depends on. `services`: those that can be called, since they have a URL."""

    definitions: Definitions
    services: Collection[str]
    limits: Limits

    def findings(self, definition: SagaDefinition) -> list[Finding]:
        """What may not be meant in it, with what this installation decides."""
        return lint(definition, self.limits)

    def examine(self, content: Any) -> SagaDefinition:
        """The definition that this JSON says, if it could be published. Raises DefinitionInvalid with every fault."""
        faults = []
        schema = content.get("input_schema") if isinstance(content, dict) else None
        if isinstance(schema, dict):
            faults += self.definitions.schema_faults(schema)
        try:
            definition = read_definition(content)
        except DefinitionInvalid as error:
            raise DefinitionInvalid(error.name, [*error.faults, *faults]) from None
        faults += self._service_faults(definition)
        faults += self._topic_faults(definition)
        if faults:
            raise DefinitionInvalid(definition.name, faults)
        return definition

    def publish(self, content: Any, *, dry_run: bool = False) -> tuple[SagaDefinition, bool]:
        """Store it; with whether it is new. Raises DefinitionInvalid, or DefinitionChanged for a version that is taken.

        New sagas start under it at once where it was stored, within a second in every other process.
        """
        definition = self.examine(content)
        return definition, self.definitions.would_add(definition) if dry_run else self.definitions.add(definition)

    def _service_faults(self, definition: SagaDefinition) -> Iterator[str]:
        for index, step in enumerate(definition.steps):
            for name in ("action", "inquiry", "compensation"):
                request = getattr(step, name)
                if request and request.service not in self.services:
                    place, there_is = f"steps[{index}].{name}.service", ", ".join(sorted(self.services))
                    yield f"{place}: no URL is configured for {request.service!r}; there is {there_is}"

    def _topic_faults(self, definition: SagaDefinition) -> list[str]:
        """What is stored already may stay: it shipped, or there was a broker."""
        if self.limits.broker or self._is_stored(definition):
            return []
        return [f"{place}: {NO_BROKER}" for place in definition.topics()]

    def _is_stored(self, definition: SagaDefinition) -> bool:
        try:
            self.definitions.version(definition.name, definition.version)
        except WorkflowUnknown:
            return False
        return True
