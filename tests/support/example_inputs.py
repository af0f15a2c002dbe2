"""One input for each shipped workflow that the reference participants can do, and that passes through every step."""

from typing import Any

from interfaces import examples

SHOP = "550e8400-e29b-41d4-a716-446655440000"
COFFEE, TEA = "550e8400-e29b-41d4-a716-446655440001", "550e8400-e29b-41d4-a716-446655440002"

EXAMPLE_INPUTS: dict[str, dict[str, Any]] = {
    "commandes": {  # with two lines
        "client_id": "12345678-1234-1234-1234-123456789012",
        "magasin_id": SHOP,
        "lignes": [{"produit_id": COFFEE, "quantite": 2}, {"produit_id": TEA, "quantite": 1}],
    },
    **{name: given for name, given in examples.EXAMPLE_INPUTS.items() if name != "commandes"},
}
"""By the workflow's name. Every test of tests/integration/test_every_workflow.py runs for each."""
