"""What the betting services are seeded with: bet slips with odds and liabilities, and their bettors' wallets.

Each kind of refusal has a slip of its own, so that every step's failure can be seen without any fault injection.
"""

from typing import Final, NamedTuple

BETTOR, FROZEN_BETTOR, LOAD_BETTOR = 456, 457, 458
"""The wallet of the second takes no credits; the third's slips are for load tests."""
LOAD_SLIPS, HELD_SLIPS = range(10_001, 15_001), range(20_001, 25_001)
"""Of the first each can be cashed out, of the second each is refused at the last step."""


class Slip(NamedTuple):
    id: int
    user_id: int
    stake: int
    """Cents, as all amounts here."""
    odds: int
    """When the bet was placed; thousandths, as all odds here."""
    live_odds: int | None
    """Now; None when the market is closed."""
    liability: int
    status: str = "OPEN"
    locked: bool = False
    """Whether its liability may not be changed."""
    held: bool = False
    """Whether it is under review, which is noticed only when the cash-out is completed."""
    standing: bool = False
    """Whether the bet is placed anew whenever it is cashed out, so that this can be seen again and again."""


SLIPS: Final = (
    Slip(123, BETTOR, 10_000, 2_000, 1_500, 20_000),
    Slip(124, BETTOR, 5_000, 3_000, 2_000, 15_000, status="SETTLED"),
    Slip(125, BETTOR, 2_000, 1_800, None, 3_600),
    Slip(126, FROZEN_BETTOR, 10_000, 2_000, 1_500, 20_000),
    Slip(127, BETTOR, 10_000, 2_000, 1_500, 20_000, locked=True),
    Slip(128, BETTOR, 10_000, 2_000, 1_500, 20_000, held=True),
    Slip(129, BETTOR, 10_000, 2_000, 1_500, 10**15, standing=True),
    *(Slip(number, LOAD_BETTOR, 1_000, 2_000, 1_600, 2_000) for number in LOAD_SLIPS),
    *(Slip(number, LOAD_BETTOR, 1_000, 2_000, 1_600, 2_000, held=True) for number in HELD_SLIPS),
)
WALLETS: Final = ((BETTOR, 10_000, "ACTIVE"), (FROZEN_BETTOR, 10_000, "FROZEN"), (LOAD_BETTOR, 0, "ACTIVE"))
"""Bettor, balance and status."""
