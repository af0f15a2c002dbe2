"""The loyalty programme: points that members give for a discount, and get back when their booking fails."""

import sqlite3
from uuid import uuid4

from participants.service import Applied, Call, Service, do, read, refusal, undo
from participants.travellers import TRAVELLERS
from participants.validation import integer
from saga_barrier import Answer

MOST_POINTS = 1_000_000
POINTS_OF_ONE = 100
"""Points for a discount of 1.00."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS members (
    user_id INTEGER PRIMARY KEY,
    points INTEGER NOT NULL CHECK (points >= 0)
);
CREATE TABLE IF NOT EXISTS deductions (
    deduction_id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES members,
    points INTEGER NOT NULL CHECK (points > 0),
    status TEXT NOT NULL DEFAULT 'DEDUCTED' CHECK (status IN ('DEDUCTED', 'REFUNDED'))
);
"""
SEED = (("INSERT OR IGNORE INTO members VALUES (?, ?)", list(TRAVELLERS)),)

_MEMBER = "SELECT user_id, points FROM members WHERE user_id = ?"
_TAKE = "UPDATE members SET points = points - ? WHERE user_id = ? AND points >= ?"
_GIVE_BACK = "UPDATE members SET points = points + ? WHERE user_id = ?"
_DEDUCT = "INSERT INTO deductions (deduction_id, user_id, points) VALUES (?, ?, ?)"
_REFUND = """
UPDATE deductions SET status = 'REFUNDED'
WHERE deduction_id = ? AND user_id = ? AND status = 'DEDUCTED' RETURNING points
"""


def member(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Tell how many points a member has."""
    row = cursor.execute(_MEMBER, (call.parameters["user_id"],)).fetchone()
    return Answer(200, {"user_id": row[0], "points": row[1]}) if row else _unknown(call)


def points(call: Call) -> int:
    return integer(call.body(), "points", 1, MOST_POINTS)


def deduct(cursor: sqlite3.Cursor, call: Call, wanted: int) -> Applied | Answer:
    """Take points for a discount."""
    user_id = call.parameters["user_id"]
    cursor.execute(_TAKE, (wanted, user_id, wanted))
    if cursor.rowcount == 0:
        row = cursor.execute(_MEMBER, (user_id,)).fetchone()
        detail = f"Member {user_id} has {row[1]} points, {wanted} asked for" if row else ""
        return refusal(409, "not_enough_points", detail) if row else _unknown(call)
    deduction_id = str(uuid4())
    cursor.execute(_DEDUCT, (deduction_id, user_id, wanted))
    body = {"points_deducted": wanted, "discount": wanted / POINTS_OF_ONE, "deduction_id": deduction_id}
    return Applied(Answer(201, body), user_id, wanted)


def refund(cursor: sqlite3.Cursor, call: Call, _: None, deducted: Answer) -> Applied | Answer:
    """Give the points of a deduction back."""
    user_id, deduction_id = call.parameters["user_id"], deducted.body["deduction_id"]
    rows = cursor.execute(_REFUND, (deduction_id, user_id)).fetchall()
    if not rows:
        return refusal(409, "other_member", f"The deduction {deduction_id} is another member's than {user_id}")
    ((given_back,),) = rows
    cursor.execute(_GIVE_BACK, (given_back, user_id))
    return Applied(Answer(200, {"points_refunded": given_back}), user_id, given_back)


def _unknown(call: Call) -> Answer:
    return refusal(404, "unknown_member", f"There is no member {call.parameters['user_id']}")


MEMBER = "/api/members/{user_id}/"

SERVICE = Service(
    name="loyalty",
    port=8022,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        read(MEMBER, member),
        do(f"{MEMBER}point-deductions/", points, deduct),
        undo(f"{MEMBER}point-refunds/", lambda _: None, refund),
    ),
)
