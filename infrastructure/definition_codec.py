"""A definition as JSON and back without loss, and its fingerprint."""

import hashlib
from typing import Any

import msgspec

from domain.definition import SagaDefinition


def to_json(definition: SagaDefinition) -> dict[str, Any]:
    """The definition as JSON values."""
    built: dict[str, Any] = msgspec.to_builtins(definition)
    return built


def from_json(content: Any) -> SagaDefinition:
    """The definition that `to_json` gave; it is checked again as it is built. Raises msgspec.ValidationError."""
    return msgspec.convert(content, SagaDefinition)


def fingerprint(definition: SagaDefinition) -> str:
    """SHA-256 of the definition's canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(definition, order="deterministic")).hexdigest()


def states_json(definition: SagaDefinition) -> dict[str, list[str]]:
    """The possible pairs of status and state, as the database's trigger reads them."""
    return {status.value: sorted(states) for status, states in definition.states_by_status().items()}
