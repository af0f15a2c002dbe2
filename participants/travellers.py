"""Whom the flight services are seeded with: one traveller to whom everything is granted, and three who are refused."""

from typing import Final, NamedTuple


class Traveller(NamedTuple):
    user_id: int
    points: int
    """Of the loyalty programme; a point is worth a cent."""


TRAVELLER: Final = 1
DECLINED: Final = 2
"""The payment is refused: the seat and the points are undone."""
BARRED: Final = 3
"""The booking is refused at the last step: everything before is undone."""
POOR: Final = 4
"""Has points for a discount of 1.00 only."""

TRAVELLERS: Final = (
    Traveller(TRAVELLER, 1_000_000_000),  # enough for load tests
    Traveller(DECLINED, 1_000_000_000),
    Traveller(BARRED, 1_000_000_000),
    Traveller(POOR, 100),
)
