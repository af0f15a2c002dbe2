"""`from sagas.orchestrator import SagaOrchestrator`."""

from interfaces.cashout import SagaOrchestrator

__all__ = ["SagaOrchestrator"]
