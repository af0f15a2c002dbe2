"""`from flight.saga_tests import run_saga_tests`."""

from interfaces.booking_scenarios import run_saga_tests

__all__ = ["run_saga_tests"]
