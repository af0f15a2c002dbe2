"""What the e-commerce services are seeded with: stores, products with prices and stocks, and one blocked client."""

from typing import Final, NamedTuple


class Product(NamedTuple):
    id: str
    nom: str
    centimes: int
    stock: tuple[int, int]
    """Units in each of ``STORES``."""


STORES: Final = ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440100")
BLOCKED_CLIENT: Final = "00000000-0000-4000-8000-00000000b10c"
"""Its orders are refused at the last step, so that an undo can be seen without any fault injection."""

PRODUCTS: Final = (
    Product("550e8400-e29b-41d4-a716-446655440001", "Café en grains 1 kg", 1490, (500, 120)),
    Product("550e8400-e29b-41d4-a716-446655440002", "Thé vert bio 100 g", 725, (200, 80)),
    Product("550e8400-e29b-41d4-a716-446655440003", "Chocolat noir 70 % 200 g", 480, (350, 0)),
    Product("550e8400-e29b-41d4-a716-446655440004", "Confiture de fraises 370 g", 535, (5, 40)),
    Product("550e8400-e29b-41d4-a716-446655440005", "Miel de lavande 500 g", 1260, (0, 25)),
    # Enough for load tests.
    Product("550e8400-e29b-41d4-a716-446655440006", "Sac en papier recyclé", 15, (10_000_000, 10_000_000)),
)
