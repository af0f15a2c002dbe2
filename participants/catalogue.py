"""The catalogue: what each product is called and what it costs."""

import sqlite3
from typing import Any

from participants.assortment import PRODUCTS
from participants.service import Call, Service, read, refusal
from saga_barrier import Answer

SCHEMA = """
CREATE TABLE IF NOT EXISTS produits (
    id TEXT PRIMARY KEY COLLATE NOCASE,
    nom TEXT NOT NULL,
    centimes INTEGER NOT NULL CHECK (centimes >= 0)
);
"""
SEED = (("INSERT OR IGNORE INTO produits VALUES (?, ?, ?)", [product[:3] for product in PRODUCTS]),)


def produits(cursor: sqlite3.Cursor, _: Call) -> Answer:
    """List the products with their prices."""
    rows = cursor.execute("SELECT id, nom, centimes FROM produits ORDER BY id")
    return Answer(200, {"produits": [_shown(row) for row in rows]})


def produit(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Tell a product's name and price."""
    produit_id = call.parameters["produit_id"]
    row = cursor.execute("SELECT id, nom, centimes FROM produits WHERE id = ?", (produit_id,)).fetchone()
    if row is None:
        return refusal(404, "produit_inconnu", f"Produit inconnu : {produit_id}")
    return Answer(200, _shown(row))


def _shown(row: tuple[str, str, int]) -> dict[str, Any]:
    return {"id": row[0], "nom": row[1], "prix": row[2] / 100}


SERVICE = Service(
    name="catalogue",
    port=8001,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        read("/api/ddd/catalogue/produits/", produits),
        read("/api/ddd/catalogue/produits/{produit_id}/", produit),
    ),
)
