"""Publish a workflow while the service runs: read it strictly, check what only this installation knows, store it."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from application.ports import Definitions
from domain.definition import SagaDefinition
from domain.definition_faults import topic_faults
from domain.definition_reader import read_definition
from domain.exceptions import DefinitionInvalid, WorkflowShipped, WorkflowUnknown
from domain.lint import NO_BROKER, Finding, Limits, lint


@dataclass(frozen=True, slots=True)
class Publisher:
    """The use case with what it depends on. `services`: those that can be called, since they have a URL. `shipped`: the
    names of the workflows whose versions come with releases.
    """

    definitions: Definitions
    services: Collection[str]
    limits: Limits
    shipped: Collection[str] = ()

    def findings(self, definition: SagaDefinition) -> list[Finding]:
        """What may not be meant in it, with what this installation decides."""
        return lint(definition, self.limits)

    def examine(self, content: Any, *, new: bool = False) -> SagaDefinition:
        """The definition that this JSON says, if it could run. Raises DefinitionInvalid with every fault.

        `new`: it is taken as one that is not stored, and nobody is asked.
        """
        named = topic_faults if new else self._name_faults
        return self._examined(content, lambda d: [*self._service_faults(d), *named(d)])

    def publish(
        self, content: Any, *, by: str, dry_run: bool = False, shipped: bool = False
    ) -> tuple[SagaDefinition, bool]:
        """Store it for this actor; with whether it is new.

        Raises DefinitionInvalid, DefinitionChanged for a version that is taken, and WorkflowShipped for a new version
        under a name that ships, unless just that is meant (`shipped`). New sagas start under it at once where it was
        stored, within a second in every other process.
        """
        definition = self._examined(
            content, lambda d: [*self._service_faults(d), *self._name_faults(d), *self._topic_faults(d)]
        )
        is_new = self.definitions.would_add(definition)
        if is_new and definition.name in self.shipped and not shipped:
            raise WorkflowShipped(
                f"{definition.name} ships with the product, and the next release may bring this version: its processes "
                "refuse to start when they find another content under it. Publish yours under a name of its own; where "
                "this name is meant, say so (the API with ?shipped=true, saga_definitions load with --shipped)"
            )
        return definition, is_new if dry_run else self.definitions.add(definition, by)

    def _examined(self, content: Any, check: Callable[[SagaDefinition], Iterable[str]]) -> SagaDefinition:
        faults = []
        schema = content.get("input_schema") if isinstance(content, dict) else None
        if isinstance(schema, dict):
            faults += self.definitions.schema_faults(schema)
        try:
            definition = read_definition(content)
        except DefinitionInvalid as error:
            raise DefinitionInvalid(error.name, [*error.faults, *faults]) from None
        faults += check(definition)
        if faults:
            raise DefinitionInvalid(definition.name, faults)
        return definition

    def _service_faults(self, definition: SagaDefinition) -> Iterator[str]:
        for index, step in enumerate(definition.steps):
            for name in ("action", "inquiry", "compensation"):
                request = getattr(step, name)
                if request and request.service not in self.services:
                    place, there_is = f"steps[{index}].{name}.service", ", ".join(sorted(self.services))
                    yield f"{place}: no URL is configured for {request.service!r}; there is {there_is}"

    def _name_faults(self, definition: SagaDefinition) -> list[str]:
        """Topics that no broker could have. What is stored already may stay: its sagas are still run."""
        faults = topic_faults(definition)
        return faults if faults and not self._is_stored(definition) else []

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
