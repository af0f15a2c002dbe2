"""The food orders: placed before they are paid, confirmed to the restaurant, cancelled when that is taken back."""

import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from participants.service import Applied, Call, Service, call_of, do, inquire, queried_call, read, refusal, undo
from participants.validation import amount, integer, invalid, items, text
from saga_barrier import Answer

CLOSED_RESTAURANT: Final = 13
"""Takes no orders."""
BUSY_RESTAURANT: Final = 17
"""Takes orders and confirms none, so that a refund can be seen without any fault injection."""
LARGEST_ID: Final = 2**53
MOST_ITEMS: Final = 200
MOST_UNITS: Final = 1000

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    call_key TEXT NOT NULL UNIQUE,  -- of the call that placed it
    customer_id INTEGER NOT NULL,
    restaurant_id INTEGER NOT NULL,
    total_cents INTEGER NOT NULL,
    delivery_address TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'PENDING_PAYMENT' CHECK (status IN ('PENDING_PAYMENT', 'CONFIRMED', 'CANCELLED'))
);
CREATE TABLE IF NOT EXISTS order_items (
    order_id INTEGER NOT NULL REFERENCES orders,
    number INTEGER NOT NULL,
    menu_item_id INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    PRIMARY KEY (order_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusals (
    restaurant_id INTEGER PRIMARY KEY,
    refused TEXT NOT NULL CHECK (refused IN ('order', 'confirmation'))
);
"""
_REFUSALS = [(CLOSED_RESTAURANT, "order"), (BUSY_RESTAURANT, "confirmation")]
SEED = (("INSERT OR IGNORE INTO refusals VALUES (?, ?)", _REFUSALS),)

_INSERT = """
INSERT INTO orders (call_key, customer_id, restaurant_id, total_cents, delivery_address) VALUES (?, ?, ?, ?, ?)
"""
_INSERT_ITEM = "INSERT INTO order_items (order_id, number, menu_item_id, quantity, cents) VALUES (?, ?, ?, ?, ?)"
_READ = "SELECT id, customer_id, restaurant_id, total_cents, delivery_address, status FROM orders WHERE id = ?"
_READ_ITEMS = "SELECT menu_item_id, quantity, cents FROM order_items WHERE order_id = ? ORDER BY number"
_CONFIRM = "UPDATE orders SET status = 'CONFIRMED' WHERE id = ? AND status = 'PENDING_PAYMENT'"
_CANCEL = "UPDATE orders SET status = 'CANCELLED' WHERE id = ? RETURNING total_cents"
_PLACED_BY = "SELECT call_key FROM orders WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Item:
    menu_item_id: int
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class FoodOrder:
    customer_id: int
    restaurant_id: int
    total_amount: Decimal
    delivery_address: str
    items: list[Item]


def food_order(call: Call) -> FoodOrder:
    body = call.body()
    return FoodOrder(
        customer_id=integer(body, "customer_id", 1, LARGEST_ID),
        restaurant_id=integer(body, "restaurant_id", 1, LARGEST_ID),
        total_amount=amount(body, "total_amount"),
        delivery_address=text(body, "delivery_address") if "delivery_address" in body else "",
        items=items(body, "items", MOST_ITEMS, _item),
    )


def _item(body: dict[str, Any]) -> Item:
    return Item(
        menu_item_id=integer(body, "menu_item_id", 1, LARGEST_ID),
        quantity=integer(body, "quantity", 1, MOST_UNITS),
        price=amount(body, "price"),
    )


def confirmation(call: Call) -> None:
    """A body that names another order was meant for somebody else."""
    named = call.body().get("order_id")
    if named is not None and str(named) != call.parameters["order_id"]:
        raise invalid(f"order_id is {named}, the address says {call.parameters['order_id']}")


def place(cursor: sqlite3.Cursor, call: Call, wanted: FoodOrder) -> Applied | Answer:
    """Place an order, which waits for its payment."""
    if _refuses(cursor, wanted.restaurant_id, "order"):
        return refusal(409, "restaurant_closed", f"Restaurant {wanted.restaurant_id} takes no orders now")
    total = wanted.total_amount
    row = (call.key, wanted.customer_id, wanted.restaurant_id, int(total * 100), wanted.delivery_address)
    order_id = cursor.execute(_INSERT, row).lastrowid
    lines = [
        (order_id, number, item.menu_item_id, item.quantity, int(item.price * 100))
        for number, item in enumerate(wanted.items, start=1)
    ]
    cursor.executemany(_INSERT_ITEM, lines)
    return Applied(Answer(201, {"id": order_id, "status": "PENDING_PAYMENT"}), str(order_id), total)


def confirm(cursor: sqlite3.Cursor, call: Call, _: None) -> Applied | Answer:
    """Confirm a paid order to its restaurant."""
    row = _order(cursor, call)
    if row is None:
        return _unknown(call)
    if _refuses(cursor, row[2], "confirmation"):
        return refusal(409, "restaurant_busy", f"Restaurant {row[2]} does not confirm order {row[0]}")
    if cursor.execute(_CONFIRM, (row[0],)).rowcount == 0:
        return refusal(409, "order_not_pending", f"Order {row[0]} is {row[5]}")
    return Applied(Answer(200, {"id": row[0], "status": "CONFIRMED"}), str(row[0]), Decimal(row[3]) / 100)


def cancel(cursor: sqlite3.Cursor, call: Call, _: None, done: Answer) -> Applied | Answer:
    """Cancel an order, to take back that it was placed or confirmed; cancelling it again changes nothing."""
    order_id = done.body["id"]
    if str(order_id) != call.parameters["order_id"]:
        return refusal(409, "other_order", f"The call to undo was about order {order_id}")
    ((cents,),) = cursor.execute(_CANCEL, (order_id,)).fetchall()  # all rows: RETURNING ends only then
    return Applied(Answer(200, {"id": order_id, "status": "CANCELLED"}), str(order_id), Decimal(cents) / 100)


def order(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show an order with its items."""
    row = _order(cursor, call)
    if row is None:
        return _unknown(call)
    names = ("id", "customer_id", "restaurant_id", "total_amount", "delivery_address", "status")
    ordered = [
        {"menu_item_id": menu_item_id, "quantity": quantity, "price": cents / 100}
        for menu_item_id, quantity, cents in cursor.execute(_READ_ITEMS, (row[0],))
    ]
    return Answer(200, {**dict(zip(names, row, strict=True)), "total_amount": row[3] / 100, "items": ordered})


def _order(cursor: sqlite3.Cursor, call: Call) -> Any:
    return cursor.execute(_READ, (call.parameters["order_id"],)).fetchone()


def _refuses(cursor: sqlite3.Cursor, restaurant_id: int, refused: str) -> bool:
    """Any restaurant is welcome but those that are known to refuse this."""
    found = cursor.execute("SELECT 1 FROM refusals WHERE restaurant_id = ? AND refused = ?", (restaurant_id, refused))
    return found.fetchone() is not None


def _unknown(call: Call) -> Answer:
    return refusal(404, "unknown_order", f"There is no order {call.parameters['order_id']}")


SERVICE = Service(
    name="orders",
    port=8007,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        do("/orders", food_order, place),
        inquire("/orders/outcome", queried_call),
        do("/orders/{order_id}/confirm", confirmation, confirm),
        undo("/orders/{order_id}/compensate", lambda _: None, cancel, undo_of=call_of(_PLACED_BY, "order_id")),
        read("/orders/{order_id}", order),
    ),
)
