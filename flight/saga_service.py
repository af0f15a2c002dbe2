"""`from flight.saga_service import booking_saga_service`."""

from interfaces.booking import BookingSAGAService, booking_saga_service

__all__ = ["BookingSAGAService", "booking_saga_service"]
