"""The partners: created for a saga, deleted when that is taken back, and every change told on `eventos-partners`."""

import sqlite3
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from participants.messaging import send
from participants.partners import PARTNER_EVENTS, REFUSED_EMAIL, UNALLIED_EMAIL, UNALLIED_PREFIX
from participants.service import Applied, Call, Service, do, inquire, read, refusal, undo
from participants.validation import invalid, text, uuid
from saga_barrier import Answer

SCHEMA = """
CREATE TABLE IF NOT EXISTS partners (
    partner_id TEXT PRIMARY KEY COLLATE NOCASE,
    saga_id TEXT NOT NULL,
    call_key TEXT NOT NULL,  -- of the call that created it
    nombre TEXT NOT NULL,
    email TEXT NOT NULL,
    telefono TEXT NOT NULL,
    direccion TEXT NOT NULL,
    estado TEXT NOT NULL DEFAULT 'ACTIVO' CHECK (estado IN ('ACTIVO', 'ELIMINADO'))
);
CREATE TABLE IF NOT EXISTS emails_rechazados (email TEXT PRIMARY KEY COLLATE NOCASE);
CREATE TABLE IF NOT EXISTS emails_sin_alianza (email TEXT PRIMARY KEY COLLATE NOCASE);
"""
SEED = (
    ("INSERT OR IGNORE INTO emails_rechazados VALUES (?)", [(REFUSED_EMAIL,)]),
    ("INSERT OR IGNORE INTO emails_sin_alianza VALUES (?)", [(UNALLIED_EMAIL,)]),
)

_COLUMNS = ("partner_id", "saga_id", "nombre", "email", "telefono", "direccion", "estado")
_READ = "SELECT partner_id, saga_id, nombre, email, telefono, direccion, estado FROM partners WHERE partner_id = ?"
_INSERT = """
INSERT INTO partners (partner_id, saga_id, call_key, nombre, email, telefono, direccion) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class Partner:
    saga_id: str
    nombre: str
    email: str
    telefono: str
    direccion: str


def partner(call: Call) -> Partner:
    body = call.body()
    email = text(body, "email")
    if email.count("@") != 1 or not all(email.split("@")):
        raise invalid("email must be an e-mail address")
    return Partner(
        saga_id=uuid(body, "saga_id"),
        nombre=text(body, "nombre"),
        email=email,
        telefono=text(body, "telefono"),
        direccion=_long_text(body, "direccion"),
    )


def _long_text(body: dict[str, Any], name: str) -> str:
    """An address may be longer than other texts, and have several lines."""
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 1000:  # noqa: PLR2004 - said in the message
        raise invalid(f"{name} must be a text of 1 to 1000 characters")
    return value


def create(cursor: sqlite3.Cursor, call: Call, wanted: Partner) -> Applied | Answer:
    """Create a partner for a saga."""
    if cursor.execute("SELECT 1 FROM emails_rechazados WHERE email = ?", (wanted.email,)).fetchone():
        return refusal(409, "partner_rechazado", f"El partner {wanted.email} fue rechazado")
    partner_id = str(uuid4())
    if cursor.execute("SELECT 1 FROM emails_sin_alianza WHERE email = ?", (wanted.email,)).fetchone():
        partner_id = UNALLIED_PREFIX + partner_id[len(UNALLIED_PREFIX) :]
    values = (wanted.nombre, wanted.email, wanted.telefono, wanted.direccion)
    cursor.execute(_INSERT, (partner_id, wanted.saga_id, call.key, *values))
    _tell(cursor, call, "partner_created", partner_id, wanted.saga_id)
    return Applied(Answer(201, {"partner_id": partner_id}), partner_id, 1)


def delete(cursor: sqlite3.Cursor, call: Call, __: None, created: Answer) -> Applied:
    """Delete a partner again."""
    partner_id = created.body["partner_id"]
    cursor.execute("UPDATE partners SET estado = 'ELIMINADO' WHERE partner_id = ?", (partner_id,))
    ((saga_id,),) = cursor.execute("SELECT saga_id FROM partners WHERE partner_id = ?", (partner_id,)).fetchall()
    _tell(cursor, call, "partner_deleted", partner_id, saga_id)
    return Applied(Answer(200, {"partner_id": partner_id, "estado": "ELIMINADO"}), partner_id, 1)


def creation_of(cursor: sqlite3.Cursor, call: Call) -> str:
    """The call that created this partner; of one that nobody created, the call that this one undoes."""
    partner_id = call.parameters["partner_id"]
    row = cursor.execute("SELECT call_key FROM partners WHERE partner_id = ?", (partner_id,)).fetchone()
    return str(row[0]) if row else call.required_key().removesuffix(":undo") + ":do"


def creation_for(call: Call) -> str:
    """The call that would have created a partner for this saga."""
    saga_id = call.parameters["saga_id"]
    asked = call.key.removesuffix(":inquire")
    return f"{asked if asked.startswith(f'{saga_id}:') else f'{saga_id}:create_partner'}:do"


def shown(cursor: sqlite3.Cursor, call: Call) -> Answer:
    """Show a partner."""
    partner_id = call.parameters["partner_id"]
    row = cursor.execute(_READ, (partner_id,)).fetchone()
    if row is None:
        return refusal(404, "partner_desconocido", f"Partner desconocido: {partner_id}")
    return Answer(200, dict(zip(_COLUMNS, row, strict=True)))


def _tell(cursor: sqlite3.Cursor, call: Call, what: str, partner_id: str, saga_id: str) -> None:
    event = {"type": what, "partner_id": partner_id, "saga_id": saga_id}
    send(cursor, (PARTNER_EVENTS, partner_id), event, call.traceparent)


SERVICE = Service(
    name="integraciones",
    port=8011,
    schema=SCHEMA,
    seed=SEED,
    routes=(
        do("/api/v1/saga/partners", partner, create),
        inquire("/api/v1/saga/partners/saga-status/{saga_id}", creation_for),
        undo("/api/v1/partners/{partner_id}", lambda _: None, delete, method="DELETE", undo_of=creation_of),
        read("/api/v1/partners/{partner_id}", shown),
    ),
    sends=True,
)
