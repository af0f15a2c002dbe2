"""The inventory: how many units of a product a store can still sell, and the reservations that hold some back."""

import sqlite3
from uuid import uuid4

from participants.assortment import PRODUCTS, STORES
from participants.service import Applied, Call, Service, do, read, refusal, undo
from participants.validation import integer
from saga_barrier import Answer

MOST_UNITS = 10_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock_local (
    produit_id TEXT NOT NULL COLLATE NOCASE,
    magasin_id TEXT NOT NULL COLLATE NOCASE,
    quantite_disponible INTEGER NOT NULL CHECK (quantite_disponible >= 0),
    PRIMARY KEY (produit_id, magasin_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (
    reservation_id TEXT PRIMARY KEY,
    produit_id TEXT NOT NULL COLLATE NOCASE,
    magasin_id TEXT NOT NULL COLLATE NOCASE,
    quantite INTEGER NOT NULL CHECK (quantite > 0),
    statut TEXT NOT NULL DEFAULT 'RESERVEE' CHECK (statut IN ('RESERVEE', 'LIBEREE')),
    FOREIGN KEY (produit_id, magasin_id) REFERENCES stock_local
);
"""
_SEED_STOCK = [
    (product.id, store, units) for product in PRODUCTS for store, units in zip(STORES, product.stock, strict=True)
]
SEED = (("INSERT OR IGNORE INTO stock_local VALUES (?, ?, ?)", _SEED_STOCK),)

_STOCK = "SELECT produit_id, magasin_id, quantite_disponible FROM stock_local WHERE produit_id = ? AND magasin_id = ?"
_TAKE = """
UPDATE stock_local SET quantite_disponible = quantite_disponible - ?
WHERE produit_id = ? AND magasin_id = ? AND quantite_disponible >= ?
"""
_RESERVE = "INSERT INTO reservations (reservation_id, produit_id, magasin_id, quantite) VALUES (?, ?, ?, ?)"
_RELEASE = """
UPDATE reservations SET statut = 'LIBEREE'
WHERE reservation_id = ? AND produit_id = ? AND magasin_id = ? AND quantite = ? AND statut = 'RESERVEE'
"""
_GIVE_BACK = """
UPDATE stock_local SET quantite_disponible = quantite_disponible + ? WHERE produit_id = ? AND magasin_id = ?
"""


def stock_local(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Tell how many units of a product a store can still sell."""
    row = cursor.execute(_STOCK, _place(call)).fetchone()
    if row is None:
        return _unknown(call)
    return Answer(200, {"produit_id": row[0], "magasin_id": row[1], "quantite_disponible": row[2]})


def quantite(call: Call) -> int:
    return integer(call.body(), "quantite", 1, MOST_UNITS)


def reserve(cursor: sqlite3.Cursor, call: Call, units: int) -> Applied | Answer:
    """Hold units of a product back for one order."""
    cursor.execute(_TAKE, (units, *_place(call), units))
    if cursor.rowcount == 0:
        return _not_reserved(cursor, call, units)
    reservation_id = str(uuid4())
    cursor.execute(_RESERVE, (reservation_id, *_place(call), units))
    return Applied(Answer(201, {"reservation_id": reservation_id}), _subject(call), units)


def release(cursor: sqlite3.Cursor, call: Call, units: int, reserved: Answer) -> Applied | Answer:
    """Give a reservation's units back to the store."""
    reservation_id = reserved.body["reservation_id"]
    cursor.execute(_RELEASE, (reservation_id, *_place(call), units))
    if cursor.rowcount == 0:
        detail = f"La réservation {reservation_id} porte sur un autre produit, magasin ou nombre d'unités"
        return refusal(409, "reservation_differente", detail)
    cursor.execute(_GIVE_BACK, (units, *_place(call)))
    return Applied(Answer(200, {"reservation_id": reservation_id, "statut": "LIBEREE"}), _subject(call), units)


def _place(call: Call) -> tuple[str, str]:
    return call.parameters["produit_id"], call.parameters["magasin_id"]


def _subject(call: Call) -> str:
    return "/".join(_place(call)).lower()


def _not_reserved(cursor: sqlite3.Cursor, call: Call, units: int) -> Answer:
    row = cursor.execute(_STOCK, _place(call)).fetchone()
    if row is None:
        return _unknown(call)
    detail = f"Stock insuffisant pour le produit {row[0]} : {row[2]} disponible(s), {units} demandé(s)"
    return refusal(409, "stock_insuffisant", detail)


def _unknown(call: Call) -> Answer:
    produit_id, magasin_id = _place(call)
    return refusal(404, "stock_inconnu", f"Produit {produit_id} inconnu au magasin {magasin_id}")


PLACE = "/api/ddd/inventaire/stock-local/{produit_id}/{magasin_id}/"

SERVICE = Service(
    name="inventaire",
    port=8002,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        read(PLACE, stock_local),
        do(PLACE + "reservations/", quantite, reserve),
        undo(PLACE + "liberations/", quantite, release),
    ),
)
