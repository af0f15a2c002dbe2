"""What makes a service safe to call from a saga: one table, one call in the service's own transaction.

Standard library only. README.md shows how a service uses it.
"""

from saga_barrier.barrier import Answer, Barrier, BarrierError

__all__ = ["Answer", "Barrier", "BarrierError"]
