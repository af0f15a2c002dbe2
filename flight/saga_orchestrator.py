"""`from flight.saga_orchestrator import BookingSAGAOrchestrator`."""

from interfaces.booking import BookingSAGAOrchestrator

__all__ = ["BookingSAGAOrchestrator"]
