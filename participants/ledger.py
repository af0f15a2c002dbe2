"""The ledger: every effect that was really applied, written in the effect's own transaction.

It proves, from outside, that a saga had each effect at most once and no undo without its do.
"""

import sqlite3
from decimal import Decimal
from typing import Any, Final, Literal

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ledger (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    saga_id TEXT NOT NULL,  -- what stands before the first colon of the key
    call_key TEXT NOT NULL,  -- the do-call's key, for its undo too
    operation TEXT NOT NULL CHECK (operation IN ('do', 'undo')),
    subject TEXT NOT NULL,
    quantity NUMERIC NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX IF NOT EXISTS ledger_by_saga ON ledger (saga_id, id);
"""

_RECORD = "INSERT INTO ledger (service, saga_id, call_key, operation, subject, quantity) VALUES (?, ?, ?, ?, ?, ?)"
_COLUMNS = ("id", "service", "saga_id", "key", "operation", "subject", "quantity", "at")
_READ = "SELECT id, service, saga_id, call_key, operation, subject, quantity, at FROM ledger"


def record(
    cursor: sqlite3.Cursor,
    *,
    service: str,
    key: str,
    operation: Literal["do", "undo"],
    subject: str,
    quantity: Decimal | int,
) -> None:
    number = quantity if isinstance(quantity, int) else float(quantity)
    cursor.execute(_RECORD, (service, key.partition(":")[0], key, operation, subject, number))


def effects(cursor: sqlite3.Cursor, saga_id: str | None) -> list[dict[str, Any]]:
    """Oldest first; all of the service's when no saga is named."""
    if saga_id is None:
        rows = cursor.execute(f"{_READ} ORDER BY id")
    else:
        rows = cursor.execute(f"{_READ} WHERE saga_id = ? ORDER BY id", (saga_id,))
    return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
