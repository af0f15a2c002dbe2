"""The risk desk: the live odds of a bet slip, and what the bookmaker still stands to pay for it."""

import sqlite3
from decimal import Decimal
from uuid import uuid4

from participants.bets import SLIPS
from participants.service import Applied, Call, Service, do, read, refusal, undo
from participants.validation import amount
from saga_barrier import Answer

SCHEMA = """
CREATE TABLE IF NOT EXISTS live_odds (bet_slip_id INTEGER PRIMARY KEY, odds_thousandths INTEGER);
CREATE TABLE IF NOT EXISTS liabilities (
    bet_slip_id INTEGER PRIMARY KEY,
    amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0),
    locked INTEGER NOT NULL DEFAULT 0
);
"""
SEED = (
    ("INSERT OR IGNORE INTO live_odds VALUES (?, ?)", [(slip.id, slip.live_odds) for slip in SLIPS]),
    ("INSERT OR IGNORE INTO liabilities VALUES (?, ?, ?)", [(s.id, s.liability, s.locked) for s in SLIPS]),
)

_ODDS = "SELECT bet_slip_id, odds_thousandths FROM live_odds WHERE bet_slip_id = ?"
_LIABILITY = "SELECT bet_slip_id, amount_cents, locked FROM liabilities WHERE bet_slip_id = ?"
_REDUCE = "UPDATE liabilities SET amount_cents = amount_cents - ? WHERE bet_slip_id = ? AND amount_cents >= ?"
_RESTORE = "UPDATE liabilities SET amount_cents = amount_cents + ? WHERE bet_slip_id = ?"


def live_odds(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Tell the odds of a bet slip as they are now."""
    row = cursor.execute(_ODDS, (_slip(call),)).fetchone()
    if row is None:
        return refusal(404, "odds_unknown", f"There are no odds for bet slip {_slip(call)}")
    if row[1] is None:
        return refusal(409, "market_closed", f"The market of bet slip {row[0]} is closed")
    return Answer(200, {"bet_slip_id": row[0], "odds": row[1] / 1000})


def liability(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Tell what the bookmaker stands to pay for a bet slip."""
    row = cursor.execute(_LIABILITY, (_slip(call),)).fetchone()
    return Answer(200, {"bet_slip_id": row[0], "amount": row[1] / 100}) if row else _unknown(call)


def reduce(cursor: sqlite3.Cursor, call: Call, money: Decimal) -> Applied | Answer:
    """Take a cash-out's amount off the liability."""
    row = cursor.execute(_LIABILITY, (_slip(call),)).fetchone()
    if row is None:
        return _unknown(call)
    if row[2]:
        return refusal(409, "liability_locked", f"The liability of bet slip {row[0]} is locked")
    cents = int(money * 100)
    cursor.execute(_REDUCE, (cents, row[0], cents))
    if cursor.rowcount == 0:
        return refusal(409, "liability_too_low", f"The liability of bet slip {row[0]} is less than {money}")
    answer = Answer(201, {"liability_id": str(uuid4()), "bet_slip_id": row[0], "amount": float(money)})
    return Applied(answer, str(row[0]), money)


def restore(cursor: sqlite3.Cursor, call: Call, _: None, reduced: Answer) -> Applied | Answer:
    """Put a reduction back."""
    slip_id, money = reduced.body["bet_slip_id"], Decimal(str(reduced.body["amount"]))
    if str(slip_id) != _slip(call):
        return refusal(409, "other_slip", f"That call reduced the liability of bet slip {slip_id}, and this is another")
    cursor.execute(_RESTORE, (int(money * 100), slip_id))
    answer = Answer(200, {"liability_id": reduced.body["liability_id"], "status": "RESTORED"})
    return Applied(answer, str(slip_id), money)


def _slip(call: Call) -> str:
    return call.parameters["bet_slip_id"]


def _unknown(call: Call) -> Answer:
    return refusal(404, "liability_unknown", f"There is no liability for bet slip {_slip(call)}")


PLACE = "/api/liabilities/{bet_slip_id}/"

SERVICE = Service(
    name="risk-management",
    port=8006,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        read("/api/odds/live/{bet_slip_id}/", live_odds),
        read(PLACE, liability),
        do(PLACE + "reductions/", lambda call: amount(call.body(), "amount"), reduce),
        undo(PLACE + "restorations/", lambda _: None, restore),
    ),
)
