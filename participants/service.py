"""A service as data: tables, seed and routes; each route is a read, a do, an undo or an inquiry.

The route's kind does what a participant owes: it asks for the key, goes through the barrier, and enters what was
really applied in the ledger. A service's own functions hold the business alone.
"""

import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from participants import ledger
from participants.database import Database, Seed
from participants.validation import RequestError, invalid, json_object, text
from saga_barrier import Answer, Barrier

if TYPE_CHECKING:
    from participants.messaging import Listens

BARRIER: Final = Barrier("sqlite")
LONGEST_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as a service sees it."""

    service: str
    method: str
    path: str
    parameters: Mapping[str, str]
    """From the path: ``{produit_id}`` of the route."""
    query: Mapping[str, str]
    key: str
    """The Idempotency-Key header; empty when there is none."""
    content: bytes
    traceparent: str = ""

    def body(self) -> dict[str, Any]:
        return json_object(self.content)

    def required_key(self) -> str:
        """The key of a call that has an effect; such a call without one could not be repeated safely."""
        if not self.key:
            detail = (
                "This call has an effect and needs the header Idempotency-Key: a value of your own for this one "
                "call, sent again unchanged when the call is repeated, e.g. '<saga id>:reservation_stock[0]:do'"
            )
            raise RequestError(400, "idempotency_key_missing", detail)
        if len(self.key) > LONGEST_KEY or not self.key.isprintable():
            raise invalid(f"Idempotency-Key must be 1 to {LONGEST_KEY} printable characters")
        return self.key


@dataclass(frozen=True, slots=True)
class Applied:
    """An effect that took place: what the caller is answered, and what the ledger says about it."""

    answer: Answer
    subject: str
    quantity: Decimal | int


Handler = Callable[[Database, Call], Answer]
Check = Callable[[Call], Any]
"""Reads what a call wants from its body, or raises: nothing has been done yet."""


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    summary: str
    handler: Handler

    def pattern(self) -> re.Pattern[str]:
        """``{name}`` stands for one segment; the last slash may be left out."""
        segments = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path.rstrip("/")))
        return re.compile(f"{segments}/?")


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    port: int
    schema: str
    seed: Seed
    routes: tuple[Route, ...]
    listens: "Listens | None" = None
    """Commands that come over a broker."""
    sends: bool = False
    """Whether it sends messages; one that listens does, its answers."""


def read(path: str, query: Callable[[sqlite3.Cursor, Call], Answer]) -> Route:
    """A route without effect."""
    return Route("GET", path, _summary(query), lambda database, call: query(database.cursor(), call))


def do(path: str, check: Check, effect: Callable[[sqlite3.Cursor, Call, Any], Applied | Answer]) -> Route:
    """A route whose effect happens once a key; an ``Answer`` instead of ``Applied`` is a refusal, or moves nothing."""

    def handle(database: Database, call: Call) -> Answer:
        key, wanted = call.required_key(), check(call)
        if key.endswith((":undo", ":inquire")):
            raise invalid(f"Idempotency-Key {key} does not name a do")
        with database.transaction() as cursor:
            return BARRIER.do(cursor, key, lambda: _enter(cursor, call, key, "do", effect(cursor, call, wanted)))

    return Route("POST", path, _summary(effect), handle)


def undo(
    path: str,
    check: Check,
    effect: Callable[[sqlite3.Cursor, Call, Any, Answer], Applied | Answer],
    *,
    method: str = "POST",
    undo_of: Callable[[sqlite3.Cursor, Call], str] | None = None,
) -> Route:
    """A route that takes back one call: the one its body names as ``undo_of``, or the one that ``undo_of`` finds.

    The effect is given what that call answered, and is not called when there is nothing to take back.
    """
    find = undo_of or (lambda _, call: named_call(call))

    def handle(database: Database, call: Call) -> Answer:
        call.required_key()
        wanted = check(call)
        with database.transaction() as cursor:
            key = find(cursor, call)
            return BARRIER.undo(
                cursor, key, lambda done: _enter(cursor, call, key, "undo", effect(cursor, call, wanted, done))
            )

    return Route(method, path, _summary(effect), handle)


def inquire(path: str, key_of: Callable[[Call], str]) -> Route:
    """A route that tells whether a call was done; once it said ``not_done`` that call is refused for good."""

    def handle(database: Database, call: Call) -> Answer:
        key = key_of(call)
        with database.transaction() as cursor:
            return BARRIER.inquire(cursor, key)

    return Route("GET", path, "Tell whether a call was done.", handle)


def named_call(call: Call) -> str:
    """The do-call's key that an undo's body names."""
    key = text(call.body(), "undo_of")
    if key.endswith((":undo", ":inquire")):
        raise invalid(f"undo_of must be the Idempotency-Key of the call to undo, which {key} is not")
    return key


def call_of(select: str, parameter: str) -> Callable[[sqlite3.Cursor, Call], str]:
    """For an undo by id: the call that its body names, or else the one that made what has this id.

    `select` gives that call's key for the id in the path.
    """

    def find(cursor: sqlite3.Cursor, call: Call) -> str:
        if "undo_of" in call.body():
            return named_call(call)
        row = cursor.execute(select, (call.parameters[parameter],)).fetchone()
        if row is None:
            raise RequestError(404, "unknown_id", f"There is no {call.parameters[parameter]} to undo")
        return str(row[0])

    return find


def queried_call(call: Call) -> str:
    """The do-call's key that an inquiry asks about, `?key=`."""
    key = text(dict(call.query), "key")
    if key.endswith((":undo", ":inquire")):
        raise invalid(f"key must be the Idempotency-Key of the call to ask about, which {key} is not")
    return key


def refusal(status: int, code: str, detail: str) -> Answer:
    return Answer(status, {"code": code, "detail": detail})


def _enter(
    cursor: sqlite3.Cursor, call: Call, key: str, operation: Literal["do", "undo"], result: Applied | Answer
) -> Answer:
    if isinstance(result, Answer):
        return result
    ledger.record(
        cursor,
        service=call.service,
        key=key,
        operation=operation,
        subject=result.subject,
        quantity=result.quantity,
    )
    return result.answer


def _summary(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]
