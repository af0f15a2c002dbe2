"""What the payments service does for flight bookings: fares taken from travellers, and given back."""

import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from uuid import uuid4

from participants.service import Applied, Call, do, read, refusal, undo
from participants.travellers import DECLINED
from participants.validation import amount, integer, invalid, text
from saga_barrier import Answer

LARGEST_ID = 2**53

SCHEMA = """
CREATE TABLE IF NOT EXISTS fares (
    transaction_id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL,
    cents INTEGER NOT NULL CHECK (cents >= 0),
    payment_method TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'PAID' CHECK (status IN ('PAID', 'REFUNDED'))
);
CREATE TABLE IF NOT EXISTS declined_users (user_id INTEGER PRIMARY KEY);
"""
SEED = (("INSERT OR IGNORE INTO declined_users VALUES (?)", [(DECLINED,)]),)

_PAY = "INSERT INTO fares (transaction_id, user_id, cents, payment_method) VALUES (?, ?, ?, ?)"
_REFUND = "UPDATE fares SET status = 'REFUNDED' WHERE transaction_id = ? RETURNING cents"
_FARE = "SELECT transaction_id, user_id, cents, payment_method, status FROM fares WHERE transaction_id = ?"


@dataclass(frozen=True, slots=True)
class Fare:
    user_id: int
    payment_method: str
    to_pay: Decimal


def fare(call: Call) -> Fare:
    """What is to be paid: the amount less the discount."""
    body = call.body()
    to_pay = amount(body, "amount") - amount({"discount": 0, **body}, "discount")
    if to_pay < 0:
        raise invalid("discount must not be more than amount")
    return Fare(integer(body, "user_id", 1, LARGEST_ID), text(body, "payment_method"), to_pay)


def pay(cursor: sqlite3.Cursor, _: Call, wanted: Fare) -> Applied | Answer:
    """Take the money for a fare."""
    if cursor.execute("SELECT 1 FROM declined_users WHERE user_id = ?", (wanted.user_id,)).fetchone():
        return refusal(402, "payment_declined", "Payment authorization failed")
    transaction_id = str(uuid4())
    cursor.execute(_PAY, (transaction_id, wanted.user_id, int(wanted.to_pay * 100), wanted.payment_method))
    body = {"transaction_id": transaction_id, "paid": float(wanted.to_pay)}
    return Applied(Answer(201, body), transaction_id, wanted.to_pay)


def refund(cursor: sqlite3.Cursor, _: Call, __: None, paid: Answer) -> Applied:
    """Give the money for a fare back."""
    transaction_id = paid.body["transaction_id"]
    ((cents,),) = cursor.execute(_REFUND, (transaction_id,)).fetchall()
    refunded = Decimal(cents) / 100
    body = {"transaction_id": transaction_id, "refunded": float(refunded)}
    return Applied(Answer(200, body), transaction_id, refunded)


def shown_fare(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show what was paid for a fare."""
    transaction_id = call.parameters["transaction_id"]
    row = cursor.execute(_FARE, (transaction_id,)).fetchone()
    if row is None:
        return refusal(404, "unknown_payment", f"There is no payment {transaction_id}")
    names = ("transaction_id", "user_id", "paid", "payment_method", "status")
    return Answer(200, {**dict(zip(names, row, strict=True)), "paid": row[2] / 100})


ROUTES = (
    do("/api/payments/", fare, pay),
    undo("/api/payments/refund/", lambda _: None, refund),
    read("/api/payments/{transaction_id}/", shown_fare),
)
