"""The payments: taken from a card or another means, and refunded."""

import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from participants import fares
from participants.service import Applied, Call, Service, call_of, do, inquire, queried_call, read, refusal, undo
from participants.validation import amount, invalid, text
from saga_barrier import Answer

REFUSED_METHOD: Final = "declined_card"
"""Its issuer refuses every payment."""
LARGEST_PAYMENT: Final = Decimal(10_000)
"""No issuer covers more."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    call_key TEXT NOT NULL UNIQUE,  -- of the call that took it
    reference TEXT NOT NULL,  -- what it pays for, in the caller's words
    payment_method TEXT NOT NULL,
    cents INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'CAPTURED' CHECK (status IN ('CAPTURED', 'REFUNDED'))
);
CREATE TABLE IF NOT EXISTS refused_methods (payment_method TEXT PRIMARY KEY);
"""
SEED = (("INSERT OR IGNORE INTO refused_methods VALUES (?)", [(REFUSED_METHOD,)]),)

_INSERT = "INSERT INTO payments (call_key, reference, payment_method, cents) VALUES (?, ?, ?, ?)"
_READ = "SELECT id, reference, payment_method, cents, status FROM payments WHERE id = ?"
_REFUND = "UPDATE payments SET status = 'REFUNDED' WHERE id = ? RETURNING cents"
_TAKEN_BY = "SELECT call_key FROM payments WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Payment:
    reference: str
    payment_method: str
    amount: Decimal


def capture(cursor: sqlite3.Cursor, key: str, wanted: Payment) -> int | Answer:
    """Take the money: the payment's number, or the refusal (402)."""
    if cursor.execute("SELECT 1 FROM refused_methods WHERE payment_method = ?", (wanted.payment_method,)).fetchone():
        return refusal(402, "card_refused", f"{wanted.payment_method} was refused by its issuer")
    if wanted.amount > LARGEST_PAYMENT:
        return refusal(402, "insufficient_funds", f"{wanted.amount} is more than {LARGEST_PAYMENT}")
    row = (key, wanted.reference, wanted.payment_method, int(wanted.amount * 100))
    return int(cursor.execute(_INSERT, row).lastrowid or 0)


def give_back(cursor: sqlite3.Cursor, payment_id: int) -> Decimal:
    """Refund the payment: how much it was."""
    ((cents,),) = cursor.execute(_REFUND, (payment_id,)).fetchall()  # all rows: RETURNING ends only then
    return Decimal(cents) / 100


# --- for food orders: by the payment's id ---------------------------------------------------------------------------


def order_payment(call: Call) -> Payment:
    body = call.body()
    named = body.get("order_id")
    if isinstance(named, bool) or not isinstance(named, int | str) or named == "":
        raise invalid("order_id must be the number of an order")
    return Payment(str(named), text(body, "payment_method"), amount(body, "amount"))


def pay(cursor: sqlite3.Cursor, call: Call, wanted: Payment) -> Applied | Answer:
    """Take the payment of an order."""
    taken = capture(cursor, call.key, wanted)
    if isinstance(taken, Answer):
        return taken
    return Applied(Answer(201, {"id": taken, "status": "CAPTURED"}), str(taken), wanted.amount)


def compensate(cursor: sqlite3.Cursor, call: Call, _: None, paid: Answer) -> Applied | Answer:
    """Refund the payment of an order."""
    payment_id = paid.body.get("id")
    if str(payment_id) != call.parameters["payment_id"]:
        return refusal(409, "other_payment", f"The call to undo was about payment {payment_id}")
    refunded = give_back(cursor, payment_id)
    return Applied(Answer(200, {"id": payment_id, "status": "REFUNDED"}), str(payment_id), refunded)


def payment(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show a payment."""
    row: Any = cursor.execute(_READ, (call.parameters["payment_id"],)).fetchone()
    if row is None:
        return refusal(404, "unknown_payment", f"There is no payment {call.parameters['payment_id']}")
    names = ("id", "reference", "payment_method", "amount", "status")
    return Answer(200, {**dict(zip(names, row, strict=True)), "amount": row[3] / 100})


FOOD_ROUTES = (
    do("/payments", order_payment, pay),
    inquire("/payments/outcome", queried_call),
    undo("/payments/{payment_id}/compensate", lambda _: None, compensate, undo_of=call_of(_TAKEN_BY, "payment_id")),
    read("/payments/{payment_id}", payment),
)

# --------------------------------------------------------------------------------------------------------------------

SERVICE = Service(
    name="payments",
    port=8008,
    schema=SCHEMA + fares.SCHEMA,
    seed=(*SEED, *fares.SEED),
    routes=(*FOOD_ROUTES, *fares.ROUTES),
)
