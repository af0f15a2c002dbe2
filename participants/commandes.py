"""The orders: registered at the end of a successful saga, cancelled when that is taken back."""

import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from participants.assortment import BLOCKED_CLIENT
from participants.service import Applied, Call, Service, do, read, refusal, undo
from participants.validation import amount, integer, items, text, uuid
from saga_barrier import Answer

MOST_LINES = 1000
MOST_UNITS = 10_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS commandes (
    commande_id TEXT PRIMARY KEY COLLATE NOCASE,
    client_id TEXT NOT NULL,
    magasin_id TEXT NOT NULL,
    total_centimes INTEGER NOT NULL,
    statut TEXT NOT NULL DEFAULT 'ENREGISTREE' CHECK (statut IN ('ENREGISTREE', 'ANNULEE'))
);
CREATE TABLE IF NOT EXISTS lignes (
    commande_id TEXT NOT NULL REFERENCES commandes,
    numero INTEGER NOT NULL,
    produit_id TEXT NOT NULL,
    quantite INTEGER NOT NULL,
    nom TEXT NOT NULL,
    centimes INTEGER NOT NULL,
    PRIMARY KEY (commande_id, numero)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clients_bloques (client_id TEXT PRIMARY KEY);
"""
SEED = (("INSERT OR IGNORE INTO clients_bloques VALUES (?)", [(BLOCKED_CLIENT,)]),)

_INSERT = "INSERT INTO commandes (commande_id, client_id, magasin_id, total_centimes) VALUES (?, ?, ?, ?)"
_INSERT_LINE = "INSERT INTO lignes (commande_id, numero, produit_id, quantite, nom, centimes) VALUES (?, ?, ?, ?, ?, ?)"
_CANCEL = "UPDATE commandes SET statut = 'ANNULEE' WHERE commande_id = ? RETURNING total_centimes"
_READ = "SELECT commande_id, client_id, magasin_id, total_centimes, statut FROM commandes WHERE commande_id = ?"
_READ_LINES = "SELECT produit_id, quantite, nom, centimes FROM lignes WHERE commande_id = ? ORDER BY numero"


@dataclass(frozen=True, slots=True)
class Line:
    produit_id: str
    quantite: int
    nom: str
    prix_unitaire: Decimal


@dataclass(frozen=True, slots=True)
class Order:
    client_id: str
    magasin_id: str
    lines: list[Line]

    def total(self) -> Decimal:
        return sum((line.quantite * line.prix_unitaire for line in self.lines), Decimal(0))


def order(call: Call) -> Order:
    body = call.body()
    return Order(
        client_id=uuid(body, "client_id"),
        magasin_id=uuid(body, "magasin_id"),
        lines=items(body, "lignes", MOST_LINES, _line),
    )


def _line(body: dict[str, Any]) -> Line:
    return Line(
        produit_id=uuid(body, "produit_id"),
        quantite=integer(body, "quantite", 1, MOST_UNITS),
        nom=text(body, "nom"),
        prix_unitaire=amount(body, "prix_unitaire"),
    )


def register(cursor: sqlite3.Cursor, _: Call, wanted: Order) -> Applied | Answer:
    """Register an order with its lines."""
    if cursor.execute("SELECT 1 FROM clients_bloques WHERE client_id = ?", (wanted.client_id,)).fetchone():
        return refusal(409, "client_bloque", f"Le client {wanted.client_id} est bloqué : commande refusée")
    commande_id, total = str(uuid4()), wanted.total()
    cursor.execute(_INSERT, (commande_id, wanted.client_id, wanted.magasin_id, _centimes(total)))
    lines = [
        (commande_id, number, line.produit_id, line.quantite, line.nom, _centimes(line.prix_unitaire))
        for number, line in enumerate(wanted.lines, start=1)
    ]
    cursor.executemany(_INSERT_LINE, lines)
    return Applied(Answer(201, {"commande_id": commande_id}), commande_id, total)


def cancel(cursor: sqlite3.Cursor, _: Call, __: None, registered: Answer) -> Applied:
    """Cancel a registered order."""
    commande_id = registered.body["commande_id"]
    ((total,),) = cursor.execute(_CANCEL, (commande_id,)).fetchall()  # all rows: RETURNING ends only then
    return Applied(Answer(200, {"commande_id": commande_id, "statut": "ANNULEE"}), commande_id, Decimal(total) / 100)


def commande(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show an order with its lines."""
    commande_id = call.parameters["commande_id"]
    row = cursor.execute(_READ, (commande_id,)).fetchone()
    if row is None:
        return refusal(404, "commande_inconnue", f"Commande inconnue : {commande_id}")
    lines = [
        {"produit_id": produit_id, "quantite": quantite, "nom": nom, "prix_unitaire": centimes / 100}
        for produit_id, quantite, nom, centimes in cursor.execute(_READ_LINES, (row[0],))
    ]
    names = ("commande_id", "client_id", "magasin_id", "total", "statut")
    return Answer(200, {**dict(zip(names, row, strict=True)), "total": row[3] / 100, "lignes": lines})


def _centimes(money: Decimal) -> int:
    return int(money * 100)


SERVICE = Service(
    name="commandes",
    port=8003,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        do("/api/v1/ventes-ddd/enregistrer/", order, register),
        undo("/api/v1/ventes-ddd/annuler/", lambda _: None, cancel),
        read("/api/v1/ventes-ddd/{commande_id}/", commande),
    ),
)
