"""The airline: seats that are held back for a booking, and the bookings themselves."""

import sqlite3
from decimal import Decimal
from typing import Any
from uuid import uuid4

from participants.service import Applied, Call, Service, do, read, refusal, undo
from participants.travellers import BARRED
from participants.validation import integer, items, text
from saga_barrier import Answer

MOST_PASSENGERS = 9
LARGEST_ID = 2**53

SCHEMA = """
CREATE TABLE IF NOT EXISTS flights (
    flight_id INTEGER PRIMARY KEY,
    number TEXT NOT NULL,
    origin TEXT NOT NULL,
    destination TEXT NOT NULL,
    seats_left INTEGER NOT NULL CHECK (seats_left >= 0)
);
CREATE TABLE IF NOT EXISTS seats (
    seat_id TEXT PRIMARY KEY,
    flight_id INTEGER NOT NULL REFERENCES flights,
    user_id INTEGER NOT NULL,
    passengers INTEGER NOT NULL CHECK (passengers > 0),
    flight_date TEXT,
    seat_class TEXT,
    status TEXT NOT NULL DEFAULT 'RESERVED' CHECK (status IN ('RESERVED', 'CANCELLED'))
);
CREATE TABLE IF NOT EXISTS bookings (
    booking_reference TEXT PRIMARY KEY,
    seat_id TEXT NOT NULL UNIQUE REFERENCES seats,
    flight_id INTEGER NOT NULL REFERENCES flights,
    user_id INTEGER NOT NULL,
    transaction_id TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'CONFIRMED' CHECK (status IN ('CONFIRMED', 'CANCELLED'))
);
CREATE TABLE IF NOT EXISTS barred_users (user_id INTEGER PRIMARY KEY);
"""
SEED = (
    (
        "INSERT OR IGNORE INTO flights VALUES (?, ?, ?, ?, ?)",
        [
            (123, "SO 123", "Paris", "Montréal", 10_000_000),  # enough for load tests
            (124, "SO 124", "Paris", "Dakar", 3),
            (125, "SO 125", "Lyon", "Lima", 0),
        ],
    ),
    ("INSERT OR IGNORE INTO barred_users VALUES (?)", [(BARRED,)]),
)

_FLIGHT = "SELECT flight_id, number, origin, destination, seats_left FROM flights WHERE flight_id = ?"
_TAKE = "UPDATE flights SET seats_left = seats_left - ? WHERE flight_id = ? AND seats_left >= ?"
_GIVE_BACK = "UPDATE flights SET seats_left = seats_left + ? WHERE flight_id = ?"
_RESERVE = """
INSERT INTO seats (seat_id, flight_id, user_id, passengers, flight_date, seat_class) VALUES (?, ?, ?, ?, ?, ?)
"""
_CANCEL_SEAT = """
UPDATE seats SET status = 'CANCELLED' WHERE seat_id = ? AND flight_id = ? AND status = 'RESERVED' RETURNING passengers
"""
_RESERVED = "SELECT 1 FROM seats WHERE seat_id = ? AND flight_id = ? AND user_id = ? AND status = 'RESERVED'"
_BOOKED = "SELECT booking_reference FROM bookings WHERE seat_id = ?"
_BOOK = """
INSERT INTO bookings (booking_reference, seat_id, flight_id, user_id, transaction_id) VALUES (?, ?, ?, ?, ?)
"""
_CANCEL_BOOKING = "UPDATE bookings SET status = 'CANCELLED' WHERE booking_reference = ?"
_BOOKING = "SELECT booking_reference, flight_id, user_id, seat_id, transaction_id, status FROM bookings"


def flight(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Tell a flight's route and how many of its seats are left."""
    row = cursor.execute(_FLIGHT, (call.parameters["flight_id"],)).fetchone()
    names = ("flight_id", "number", "origin", "destination", "seats_left")
    return Answer(200, dict(zip(names, row, strict=True))) if row else _unknown(call)


def party(call: Call) -> dict[str, Any]:
    """Who wants to fly, and how."""
    body = call.body()
    passengers = items(
        body, "passengers", MOST_PASSENGERS, lambda one: (text(one, "first_name"), text(one, "last_name"))
    )
    wishes = {name: text(body, name) if name in body else None for name in ("flight_date", "seat_class")}
    return {"user_id": integer(body, "user_id", 1, LARGEST_ID), "passengers": len(passengers), **wishes}


def reserve(cursor: sqlite3.Cursor, call: Call, wanted: dict[str, Any]) -> Applied | Answer:
    """Hold a seat back for each passenger."""
    flight_id, count = call.parameters["flight_id"], wanted["passengers"]
    cursor.execute(_TAKE, (count, flight_id, count))
    if cursor.rowcount == 0:
        row = cursor.execute(_FLIGHT, (flight_id,)).fetchone()
        detail = f"Flight {flight_id} has {row[4]} seat(s) left, {count} asked for" if row else ""
        return refusal(409, "sold_out", detail) if row else _unknown(call)
    seat_id = str(uuid4())
    kept = (wanted["user_id"], count, wanted["flight_date"], wanted["seat_class"])
    cursor.execute(_RESERVE, (seat_id, flight_id, *kept))
    return Applied(Answer(201, {"seat_id": seat_id}), flight_id, count)


def cancel_seat(cursor: sqlite3.Cursor, call: Call, _: None, reserved: Answer) -> Applied | Answer:
    """Give the seats of a reservation back."""
    flight_id, seat_id = call.parameters["flight_id"], reserved.body["seat_id"]
    rows = cursor.execute(_CANCEL_SEAT, (seat_id, flight_id)).fetchall()
    if not rows:
        return refusal(409, "other_flight", f"The reservation {seat_id} is for another flight than {flight_id}")
    ((count,),) = rows
    cursor.execute(_GIVE_BACK, (count, flight_id))
    return Applied(Answer(200, {"seat_id": seat_id, "status": "CANCELLED"}), flight_id, count)


def ticket(call: Call) -> dict[str, Any]:
    """What is to be booked."""
    body = call.body()
    ids = {name: integer(body, name, 1, LARGEST_ID) for name in ("flight_id", "user_id")}
    return {**ids, "seat_id": text(body, "seat_id"), "transaction_id": text(body, "transaction_id")}


def book(cursor: sqlite3.Cursor, _: Call, wanted: dict[str, Any]) -> Applied | Answer:
    """Issue the booking for a seat that is held back and paid for."""
    seat_id, flight_id, user_id = wanted["seat_id"], wanted["flight_id"], wanted["user_id"]
    if cursor.execute("SELECT 1 FROM barred_users WHERE user_id = ?", (user_id,)).fetchone():
        return refusal(409, "passenger_barred", f"The airline does not carry user {user_id}")
    if not cursor.execute(_RESERVED, (seat_id, flight_id, user_id)).fetchone():
        return refusal(409, "seat_not_reserved", f"Seat {seat_id} is not held back for user {user_id} on this flight")
    if cursor.execute(_BOOKED, (seat_id,)).fetchone():
        return refusal(409, "seat_booked", f"Seat {seat_id} is booked already")
    reference = uuid4().hex[:8].upper()
    cursor.execute(_BOOK, (reference, seat_id, flight_id, user_id, wanted["transaction_id"]))
    return Applied(Answer(201, {"booking_reference": reference}), reference, 1)


def cancel_booking(cursor: sqlite3.Cursor, _: Call, __: None, booked: Answer) -> Applied:
    """Cancel a booking."""
    reference = booked.body["booking_reference"]
    cursor.execute(_CANCEL_BOOKING, (reference,))
    return Applied(Answer(200, {"booking_reference": reference, "status": "CANCELLED"}), reference, Decimal(1))


def booking(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show a booking."""
    reference = call.parameters["booking_reference"]
    row = cursor.execute(f"{_BOOKING} WHERE booking_reference = ?", (reference,)).fetchone()
    if row is None:
        return refusal(404, "unknown_booking", f"There is no booking {reference}")
    names = ("booking_reference", "flight_id", "user_id", "seat_id", "transaction_id", "status")
    return Answer(200, dict(zip(names, row, strict=True)))


def _unknown(call: Call) -> Answer:
    return refusal(404, "unknown_flight", f"There is no flight {call.parameters['flight_id']}")


SEATS = "/api/flights/{flight_id}/seat-reservations/"

SERVICE = Service(
    name="flights",
    port=8021,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        read("/api/flights/{flight_id}/", flight),
        do(SEATS, party, reserve),
        undo(f"{SEATS}cancel/", lambda _: None, cancel_seat),
        do("/api/bookings/", ticket, book),
        undo("/api/bookings/cancel/", lambda _: None, cancel_booking),
        read("/api/bookings/{booking_reference}/", booking),
    ),
)
