"""The workflows that ship with the product, one module each, found by being here.

A module publishes its definitions as `DEFINITIONS`, newest version last.
"""

from importlib import import_module
from pkgutil import iter_modules

from domain.definition import SagaDefinition


def shipped_definitions() -> list[SagaDefinition]:
    """Every definition of every module in this package, by name and version."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    definitions = [definition for module in modules for definition in module.DEFINITIONS]
    return sorted(definitions, key=lambda definition: (definition.name, definition.version))
