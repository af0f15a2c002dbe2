"""The bet slips: whether one can be cashed out, what it is worth now, and that it is cashed out."""

import sqlite3
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from uuid import uuid4

from participants.bets import SLIPS
from participants.service import Applied, Call, Service, do, read, refusal, undo
from participants.validation import amount, integer, invalid, text
from saga_barrier import Answer

LARGEST_ID = 2**63 - 1
LARGEST_ODDS = 10_000
SHARE = Decimal("0.95")
"""Of what the bet is worth; the rest is the bookmaker's."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS bet_slips (
    bet_slip_id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    stake_cents INTEGER NOT NULL CHECK (stake_cents > 0),
    odds_thousandths INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('OPEN', 'SETTLED', 'CASHED_OUT')),
    held INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS cashout_quotes (
    quote_id TEXT PRIMARY KEY,
    bet_slip_id INTEGER NOT NULL REFERENCES bet_slips,
    amount_cents INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS standing_bets (bet_slip_id INTEGER PRIMARY KEY);
"""
_SEED_SLIPS = [(slip.id, slip.user_id, slip.stake, slip.odds, slip.status, slip.held) for slip in SLIPS]
SEED = (
    ("INSERT OR IGNORE INTO bet_slips VALUES (?, ?, ?, ?, ?, ?)", _SEED_SLIPS),
    ("INSERT OR IGNORE INTO standing_bets VALUES (?)", [(slip.id,) for slip in SLIPS if slip.standing]),
)

_SLIP = "SELECT bet_slip_id, user_id, stake_cents, odds_thousandths, status, held FROM bet_slips WHERE bet_slip_id = ?"
_QUOTE = "SELECT amount_cents FROM cashout_quotes WHERE quote_id = ? AND bet_slip_id = ?"
_KEEP_QUOTE = "INSERT INTO cashout_quotes (quote_id, bet_slip_id, amount_cents) VALUES (?, ?, ?)"
_STANDING = "SELECT 1 FROM standing_bets WHERE bet_slip_id = ?"
_MOVE = "UPDATE bet_slips SET status = ? WHERE bet_slip_id = ? AND status = ?"


@dataclass(frozen=True, slots=True)
class Slip:
    bet_slip_id: int
    user_id: int
    stake_cents: int
    odds_thousandths: int
    status: str
    held: int

    def refuses(self, user_id: object) -> str | None:
        """Why this user cannot cash it out; None when nothing is known against it."""
        if str(user_id) != str(self.user_id):
            return f"it is not user {user_id}'s"
        return None if self.status == "OPEN" else f"it is {self.status}"


def bet_slip(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show a bet slip."""
    slip = _slip(cursor, call)
    if slip is None:
        return _unknown(call)
    shown = {"bet_slip_id": slip.bet_slip_id, "user_id": slip.user_id, "stake": slip.stake_cents / 100}
    return Answer(200, {**shown, "odds": slip.odds_thousandths / 1000, "status": slip.status})


def eligibility(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Tell whether a user can cash a bet slip out, and if not, why."""
    user_id = call.query.get("user_id")
    if not user_id:
        raise invalid("the query must have user_id")
    slip = _slip(cursor, call)
    if slip is None:
        return _unknown(call)
    reason = slip.refuses(user_id)
    return Answer(200, {"eligible": False, "reason": reason} if reason else {"eligible": True})


def asked_quote(call: Call) -> tuple[int, Decimal]:
    body = call.body()
    odds = body.get("live_odds")
    if not isinstance(odds, int | Decimal) or isinstance(odds, bool) or not 1 <= odds <= LARGEST_ODDS:
        raise invalid(f"live_odds must be a number from 1 to {LARGEST_ODDS}")
    return integer(body, "user_id", 1, LARGEST_ID), Decimal(odds)


def quote(cursor: sqlite3.Cursor, call: Call, wanted: tuple[int, Decimal]) -> Answer:
    """Say what a bet slip is worth at the live odds. Nothing moves, so the ledger does not list it."""
    user_id, live_odds = wanted
    slip = _slip(cursor, call)
    if slip is None:
        return _unknown(call)
    reason = slip.refuses(user_id)
    if reason:
        return refusal(409, "not_eligible", f"Bet slip {slip.bet_slip_id} cannot be cashed out: {reason}")
    worth = Decimal(slip.stake_cents) * slip.odds_thousandths / 1000 / live_odds * SHARE
    cents, quote_id = int(worth.to_integral_value(ROUND_DOWN)), str(uuid4())
    cursor.execute(_KEEP_QUOTE, (quote_id, slip.bet_slip_id, cents))
    return Answer(201, {"quote_id": quote_id, "amount": cents / 100})


def asked_cashout(call: Call) -> tuple[str, Decimal]:
    body = call.body()
    return text(body, "quote_id"), amount(body, "amount")


def cash_out(cursor: sqlite3.Cursor, call: Call, wanted: tuple[str, Decimal]) -> Applied | Answer:
    """Take the quote: the bet slip is cashed out."""
    quote_id, money = wanted
    slip = _slip(cursor, call)
    if slip is None:
        return _unknown(call)
    if slip.held:
        return refusal(409, "under_review", f"Bet slip {slip.bet_slip_id} is under review")
    quoted = cursor.execute(_QUOTE, (quote_id, slip.bet_slip_id)).fetchone()
    if quoted is None or quoted[0] != money * 100:
        return refusal(409, "quote_differs", f"Bet slip {slip.bet_slip_id} has no quote {quote_id} of {money}")
    if not _moved(cursor, slip.bet_slip_id, "CASHED_OUT", "OPEN"):
        return refusal(409, "not_open", f"Bet slip {slip.bet_slip_id} is {slip.status}")
    answer = Answer(200, {"status": "CASHED_OUT", "bet_slip_id": slip.bet_slip_id, "amount": float(money)})
    return Applied(answer, str(slip.bet_slip_id), money)


def reopen(cursor: sqlite3.Cursor, call: Call, _: None, done: Answer) -> Applied | Answer:
    """Open a bet slip again that was cashed out."""
    slip_id = done.body["bet_slip_id"]
    if str(slip_id) != call.parameters["bet_slip_id"] or not _moved(cursor, slip_id, "OPEN", "CASHED_OUT"):
        return refusal(409, "other_slip", f"That call cashed out bet slip {slip_id}, and this is another")
    money = Decimal(str(done.body["amount"]))
    return Applied(Answer(200, {"status": "OPEN", "bet_slip_id": slip_id}), str(slip_id), money)


def _moved(cursor: sqlite3.Cursor, slip_id: int, status: str, before: str) -> bool:
    """Whether the slip has changed its status, or is one of a standing bet, which is open before and after."""
    if cursor.execute(_STANDING, (slip_id,)).fetchone():
        return True
    cursor.execute(_MOVE, (status, slip_id, before))
    return cursor.rowcount == 1


def _slip(cursor: sqlite3.Cursor, call: Call) -> Slip | None:
    row = cursor.execute(_SLIP, (call.parameters["bet_slip_id"],)).fetchone()
    return Slip(*row) if row else None


def _unknown(call: Call) -> Answer:
    return refusal(404, "bet_slip_unknown", f"There is no bet slip {call.parameters['bet_slip_id']}")


PLACE = "/api/bet-slips/{bet_slip_id}/"

SERVICE = Service(
    name="betting",
    port=8004,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        read(PLACE, bet_slip),
        read(PLACE + "cashout-eligibility/", eligibility),
        do(PLACE + "cashout-quotes/", asked_quote, quote),
        do(PLACE + "cashout/", asked_cashout, cash_out),
        undo(PLACE + "reopen/", lambda _: None, reopen),
    ),
)
