"""What to send to try each shipped workflow: inputs that the reference participants can meet, again and again."""

from typing import Any

from interfaces.contracts import EXAMPLE_FOOD_ORDER, EXAMPLE_ORDER

EXAMPLE_INPUTS: dict[str, dict[str, Any]] = {
    # Of a standing bet: another slip is cashed out once.
    "cashout_flow": {"bet_slip_id": 129, "user_id": 456, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"},
    "commandes": EXAMPLE_ORDER,
    "flight_booking": {
        "flight_id": 123,
        "user_id": 1,
        "total_fare": 500,
        "loyalty_points_to_use": 1000,
        "payment_method": "card",
        "passengers": [{"first_name": "John", "last_name": "Doe", "gender": "male"}],
    },
    "order_processing": {name: EXAMPLE_FOOD_ORDER[name] for name in ("entity_id", "step_data")},
    "partner_creation": {
        "nombre": "Socios del Sur",
        "email": "hola@socios.example",
        "telefono": "+57 601 555 0101",
        "direccion": "Calle 93 # 11-27, Bogotá",
    },
}
"""By workflow. The page `/saga/test` offers them, and `manage.py saga_scenarios` books with them."""
