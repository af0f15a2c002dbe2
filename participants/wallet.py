"""The bettors' wallets: credits, and the debits that take a credit back."""

import sqlite3
from decimal import Decimal
from uuid import uuid4

from participants.bets import WALLETS
from participants.service import Applied, Call, Service, do, read, refusal, undo
from participants.validation import amount, text
from saga_barrier import Answer

SCHEMA = """
CREATE TABLE IF NOT EXISTS wallets (
    user_id INTEGER PRIMARY KEY,
    balance_cents INTEGER NOT NULL CHECK (balance_cents >= 0),
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'FROZEN'))
);
CREATE TABLE IF NOT EXISTS transactions (
    transaction_id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES wallets,
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    quote_id TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'CREDITED' CHECK (status IN ('CREDITED', 'REVERSED'))
);
CREATE INDEX IF NOT EXISTS transactions_of_a_user ON transactions (user_id);
"""
SEED = (("INSERT OR IGNORE INTO wallets VALUES (?, ?, ?)", WALLETS),)
NEWEST = 20

_WALLET = "SELECT user_id, balance_cents, status FROM wallets WHERE user_id = ?"
_TRANSACTIONS = """
SELECT transaction_id, amount_cents, quote_id, status FROM transactions
WHERE user_id = ? ORDER BY rowid DESC LIMIT ?
"""
_ADD = "UPDATE wallets SET balance_cents = balance_cents + ? WHERE user_id = ?"
_TAKE = "UPDATE wallets SET balance_cents = balance_cents - ? WHERE user_id = ? AND balance_cents >= ?"
_ENTER = "INSERT INTO transactions (transaction_id, user_id, amount_cents, quote_id) VALUES (?, ?, ?, ?)"
_FIND = "SELECT amount_cents FROM transactions WHERE transaction_id = ? AND user_id = ?"
_REVERSE = "UPDATE transactions SET status = 'REVERSED' WHERE transaction_id = ?"


def wallet(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show a wallet with its newest transactions."""
    row = cursor.execute(_WALLET, (call.parameters["user_id"],)).fetchone()
    if row is None:
        return _unknown(call)
    names = ("transaction_id", "amount", "quote_id", "status")
    entries = [
        {**dict(zip(names, entry, strict=True)), "amount": entry[1] / 100}
        for entry in cursor.execute(_TRANSACTIONS, (row[0], NEWEST))
    ]
    return Answer(200, {"user_id": row[0], "balance": row[1] / 100, "status": row[2], "transactions": entries})


def asked_credit(call: Call) -> tuple[Decimal, str]:
    body = call.body()
    return amount(body, "amount"), text(body, "quote_id")


def credit(cursor: sqlite3.Cursor, call: Call, wanted: tuple[Decimal, str]) -> Applied | Answer:
    """Put the money of a cash-out into a wallet."""
    money, quote_id = wanted
    row = cursor.execute(_WALLET, (call.parameters["user_id"],)).fetchone()
    if row is None:
        return _unknown(call)
    if row[2] != "ACTIVE":
        return refusal(409, "wallet_frozen", f"The wallet of user {row[0]} is {row[2]}")
    if money == 0:
        return refusal(409, "nothing_to_credit", "The amount is 0")
    transaction_id, cents = str(uuid4()), int(money * 100)
    cursor.execute(_ADD, (cents, row[0]))
    cursor.execute(_ENTER, (transaction_id, row[0], cents, quote_id))
    return Applied(Answer(201, {"transaction_id": transaction_id}), str(row[0]), money)


def debit(cursor: sqlite3.Cursor, call: Call, _: None, credited: Answer) -> Applied | Answer:
    """Take a credit back; refused while the wallet holds less."""
    transaction_id, user_id = credited.body["transaction_id"], call.parameters["user_id"]
    row = cursor.execute(_FIND, (transaction_id, user_id)).fetchone()
    if row is None:
        return refusal(409, "other_wallet", f"Transaction {transaction_id} is another user's")
    cursor.execute(_TAKE, (row[0], user_id, row[0]))
    if cursor.rowcount == 0:
        return refusal(409, "balance_too_low", f"The wallet of user {user_id} holds less than {row[0] / 100}")
    cursor.execute(_REVERSE, (transaction_id,))
    answer = Answer(200, {"transaction_id": transaction_id, "status": "REVERSED"})
    return Applied(answer, user_id, Decimal(row[0]) / 100)


def _unknown(call: Call) -> Answer:
    return refusal(404, "wallet_unknown", f"User {call.parameters['user_id']} has no wallet")


PLACE = "/api/wallets/{user_id}/"

SERVICE = Service(
    name="wallet",
    port=8005,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        read(PLACE, wallet),
        do(PLACE + "credits/", asked_credit, credit),
        undo(PLACE + "debits/", lambda _: None, debit),
    ),
)
