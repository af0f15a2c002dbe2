"""The alliances: created and cancelled by commands on a topic, and answered on another."""

import sqlite3
from typing import Any
from uuid import uuid4

from participants import ledger
from participants.messaging import Listens
from participants.partners import ANSWERS, COMMANDS, UNALLIED_PREFIX
from participants.service import BARRIER, Service, refusal
from participants.validation import text, uuid
from saga_barrier import Answer

NAME = "alianzas"
SCHEMA = """
CREATE TABLE IF NOT EXISTS alianzas (
    alliance_id TEXT PRIMARY KEY,
    saga_id TEXT NOT NULL,
    partner_id TEXT NOT NULL,
    correlation_id TEXT,
    estado TEXT NOT NULL DEFAULT 'ACTIVA' CHECK (estado IN ('ACTIVA', 'CANCELADA'))
);
CREATE TABLE IF NOT EXISTS partners_sin_alianza (prefijo TEXT PRIMARY KEY);
"""
SEED = (("INSERT OR IGNORE INTO partners_sin_alianza VALUES (?)", [(UNALLIED_PREFIX,)]),)

_INSERT = "INSERT INTO alianzas (alliance_id, saga_id, partner_id, correlation_id) VALUES (?, ?, ?, ?)"
_REFUSED = "SELECT 1 FROM partners_sin_alianza WHERE substr(?, 1, length(prefijo)) = prefijo"


def create(cursor: sqlite3.Cursor, command: dict[str, Any], refuse: bool) -> dict[str, Any]:  # noqa: FBT001 - a Command
    """Create an alliance once, and answer; repeated, answer as the first time."""
    saga_id, partner_id, key = uuid(command, "saga_id"), text(command, "partner_id"), text(command, "key")
    correlation_id = command.get("correlation_id")

    def effect() -> Answer:
        if refuse or cursor.execute(_REFUSED, (partner_id,)).fetchone():
            return refusal(409, "alianza_rechazada", f"El partner {partner_id} no puede tener una alianza")
        alliance_id = str(uuid4())
        cursor.execute(_INSERT, (alliance_id, saga_id, partner_id, str(correlation_id) if correlation_id else None))
        ledger.record(cursor, service=NAME, key=key, operation="do", subject=alliance_id, quantity=1)
        return Answer(201, {"alliance_id": alliance_id})

    answer = BARRIER.do(cursor, key, effect)
    if answer.refused:
        return {"type": "alliance_failed", "saga_id": saga_id, "reason": answer.body["detail"]}
    return {"type": "alliance_created", "saga_id": saga_id, "alliance_id": answer.body["alliance_id"]}


def cancel(cursor: sqlite3.Cursor, command: dict[str, Any], _: bool) -> None:  # noqa: FBT001 - a Command
    """Cancel the alliance that a command created, or bar that command if it is still to come."""
    uuid(command, "saga_id")
    key = text(command, "undo_of")

    def effect(created: Answer) -> Answer:
        alliance_id = created.body["alliance_id"]
        cursor.execute("UPDATE alianzas SET estado = 'CANCELADA' WHERE alliance_id = ?", (alliance_id,))
        ledger.record(cursor, service=NAME, key=key, operation="undo", subject=alliance_id, quantity=1)
        return Answer(200, {"alliance_id": alliance_id, "estado": "CANCELADA"})

    BARRIER.undo(cursor, key, effect)


SERVICE = Service(
    name=NAME,
    port=8012,
    schema=SCHEMA,
    seed=SEED,
    routes=(),
    listens=Listens(COMMANDS, NAME, ANSWERS, {"CreateAlliance": create, "CancelAlliance": cancel}),
)
