"""Sagas of every workflow by the hundred thousand, copied by PostgreSQL itself from a few that the engine has made.

Some rare ones are the oldest of all: lists are newest first, so a query that finds them by walking over the others is
caught. Filling goes chunk by chunk; what was interrupted goes on where it was, what is filled is used again.
"""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from django.db import connection, transaction

from devstack import scale_histories
from devstack.scale_histories import BEGUN, SHARES, Kind
from domain.business_ids import business_ids
from domain.definition import SagaDefinition
from domain.events import SagaEvent, SagaStatus
from domain.workflows import shipped_definitions
from infrastructure import migrations
from infrastructure.definition_codec import fingerprint
from infrastructure.definition_store import DefinitionStore
from infrastructure.models import SagaEventRow, SagaRow
from infrastructure.statistics import PostgresStatistics

RARE_WORKFLOW = "retours"
RARE_TENANT = "kiosk"
SHARED_CORRELATION = "migration"
"""A correlation id that a twentieth of all sagas have, all of them among the oldest."""
SHARED_CUSTOMER = "customer-of-many"
"""A business id that the same have: the customer of each that is an order."""
RARE = 20
"""Sagas of each rare kind."""
TABLES = "sagas, saga_evenements, saga_business_ids, saga_rollup, saga_rollup_due, saga_outbox"
DUE = 5000
"""Endings that are left for the rollup, so that it has something to count; at most a half of all."""
PARKED, UNDER_WAY = 400, 100
LIVE = PARKED + UNDER_WAY
CHUNK = 20_000
"""Sagas in one transaction."""
FILLERS = 2
"""Connections that fill at once."""
_SQL = Path(__file__).parent / "scale.sql"
_LIVE_CHUNK = 0
"""What stands for the live ones among the chunks, which begin with 1."""


def ensure(sagas: int, progress: Callable[[int], None]) -> None:
    """So many finished sagas, the live ones, and the planner's statistics; what is there already is kept.

    `progress` is told how many of them there are so far.
    """
    definitions = _definitions()
    models, statements = _models(definitions), _statements()
    DefinitionStore([*definitions, replace(definitions[0], name=RARE_WORKFLOW)]).register()
    schema = sorted(each.name for each in Path(migrations.__file__).parent.glob("0*.py"))
    made_of = (sagas, statements, schema, *map(fingerprint, definitions), Path(scale_histories.__file__).read_text())
    wanted = hashlib.sha256(repr(made_of).encode()).hexdigest()
    _run(statements["filled"])
    chunks = {_LIVE_CHUNK, *range(1, sagas + 1, CHUNK)} - _kept(wanted)
    there = sagas - sum(_size(first, sagas) for first in chunks)
    progress(there)
    for done in _filled(chunks, partial(_fill, statements, models, wanted, sagas)):
        there += _size(done, sagas)
        progress(there)
    _roll_up(min(DUE, sagas // 2))
    _run(f"VACUUM (ANALYZE) {TABLES}, saga_definitions")


def park(wanted: int) -> None:
    """Have so many parked sagas, copies of those that are filled in; copies that are too many are deleted."""
    sagas, events = (
        ", ".join(field.column for field in model._meta.concrete_fields if field.column not in {"id", "saga_id", None})  # noqa: SLF001 - Django names it so
        for model in (SagaRow, SagaEventRow)
    )
    words = {"wanted": max(wanted - PARKED, 0), "models": PARKED}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_UNPARK, words)
        cursor.execute(_PARK.format(sagas=sagas, events=events), words)
    _run("VACUUM (ANALYZE) sagas, saga_evenements")


# History is append-only, but for those who fill it in.
_UNPARK = """
SET LOCAL session_replication_role = replica;
CREATE TEMP TABLE scale_parked ON COMMIT DROP AS
SELECT id, row_number() OVER (ORDER BY id) AS number FROM sagas
WHERE finished_at IS NULL AND status = 'STUCK' AND lease_owner = 'scale:copy';
DELETE FROM saga_evenements USING scale_parked WHERE saga_id = id AND number > %(wanted)s;
DELETE FROM sagas USING scale_parked WHERE sagas.id = scale_parked.id AND number > %(wanted)s
"""
_PARK = """
CREATE TEMP TABLE scale_copy ON COMMIT DROP AS
SELECT model.id AS model, uuidv7(interval '-2 days' * random()) AS id
FROM (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM sagas
    WHERE finished_at IS NULL AND status = 'STUCK' AND lease_owner <> 'scale:copy'
) AS model
JOIN generate_series((SELECT count(*) FROM scale_parked) + 1, %(wanted)s) AS number ON place = number %% %(models)s;
INSERT INTO sagas (id, {sagas}) SELECT scale_copy.id, {sagas} FROM scale_copy JOIN sagas ON sagas.id = model;
UPDATE sagas SET lease_owner = 'scale:copy', updated_at = uuid_extract_timestamp(sagas.id)
FROM scale_copy WHERE sagas.id = scale_copy.id;
INSERT INTO saga_evenements (saga_id, {events})
SELECT scale_copy.id, {events} FROM scale_copy JOIN saga_evenements ON saga_id = model
"""


def _roll_up(keep: int) -> None:
    ((due,),) = _run("SELECT count(*) FROM saga_rollup_due")
    while due > keep:
        due -= PostgresStatistics().roll_up(datetime.now(UTC), min(due - keep, CHUNK))


def forget() -> None:
    """Everything that was filled in."""
    _run(f"TRUNCATE {TABLES}, saga_definitions")
    _run("DROP TABLE IF EXISTS scale_filled")


def sizes() -> str:
    """Of the tables and their indexes, as lines of text."""
    return "\n".join(f"{name}: {size}, {rows:,} rows" for name, size, rows in _run(_statements()["sizes"]))


def _definitions() -> list[SagaDefinition]:
    """The newest of each shipped workflow, orders first."""
    newest = {definition.name: definition for definition in shipped_definitions()}
    return [newest[name] for name in SHARES]


def _models(definitions: list[SagaDefinition]) -> dict[str, str]:
    """The sagas that are copied, as JSON. Not the same each time: when a retry is due is drawn by lot."""
    kinds = {
        "finished": scale_histories.finished(definitions),
        "parked": scale_histories.parked(definitions),
        "under_way": scale_histories.under_way(definitions),
    }
    rows = [(name, number, kind) for name, found in kinds.items() for number, kind in enumerate(found)]
    sagas = [_saga_row(name, number, kind) for name, number, kind in rows]
    events = [_event_row(name, number, event) for name, number, kind in rows for event in kind.events]
    return {"sagas": msgspec.json.encode(sagas).decode(), "events": msgspec.json.encode(events).decode()}


def _saga_row(group: str, number: int, kind: Kind) -> dict[str, Any]:
    saga = kind.saga
    return {
        "of": group,
        "kind": number,
        "share": kind.share,
        "seq": saga.seq,
        "waits": saga.driverless,
        "workflow": saga.definition.name,
        "version": saga.definition.version,
        "status": saga.status.value,
        "state": saga.state,
        "error": saga.failure or None,
        "ids": business_ids(saga),
        "debts": saga.debts_by_service() if saga.status is SagaStatus.STUCK else None,
        "rests": saga.status in {SagaStatus.STUCK, SagaStatus.PAUSED},
        "data": {"input": saga.origin.input, "max_retries": saga.origin.max_retries},
        "lasts": round((kind.events[-1].at - BEGUN).total_seconds(), 3),
        "deadline": (saga.origin.deadline_at - BEGUN).total_seconds(),
    }


def _event_row(group: str, number: int, event: SagaEvent) -> dict[str, Any]:
    due = event.due_at and round((event.due_at - BEGUN).total_seconds())
    after = round((event.at - BEGUN).total_seconds(), 3)
    fields = {name: getattr(event, name) for name in SagaEvent.__slots__}
    return {**fields, "of": group, "kind": number, "after": after, "due_after": due}


def _statements() -> dict[str, str]:
    """Those of scale.sql by name: each begins with `-- name: ...`."""
    parts = _SQL.read_text().split("-- name: ")[1:]
    return dict(part.split("\n", 1) for part in parts)


def _kept(wanted: str) -> set[int]:
    """The chunks that are there already. What was filled in otherwise, or by somebody else, is thrown away."""
    filled = dict(_run("SELECT first, what FROM scale_filled"))
    has_sagas = bool(_run("SELECT 1 FROM sagas LIMIT 1"))
    if set(filled.values()) <= {wanted} and has_sagas == bool(filled):
        return set(filled)
    _run(f"TRUNCATE {TABLES}, scale_filled")
    return set()


def _filled(chunks: Iterable[int], fill: Callable[[int], int]) -> Iterable[int]:
    """Each chunk as it is filled; an interruption waits for those that are under way, and drops the others."""
    pool = ThreadPoolExecutor(FILLERS, "fill")
    try:
        for one in as_completed([pool.submit(fill, chunk) for chunk in sorted(chunks)]):
            yield one.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fill(statements: dict[str, str], models: dict[str, str], what: str, sagas: int, first: int) -> int:
    """One chunk, in one transaction, on a connection that ends with it."""
    words = {"first": first, "last": min(first + CHUNK - 1, sagas), "of": sagas, "what": what, **_WORDS, **models}
    numbered = "live" if first == _LIVE_CHUNK else "finished"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            for name in ("models", numbered, "sagas", "events", "ids", "done"):
                cursor.execute(statements[name], words)
    finally:
        connection.close()
    return first


def _size(first: int, sagas: int) -> int:
    return 0 if first == _LIVE_CHUNK else min(CHUNK, sagas - first + 1)


_WORDS = {
    "rare": RARE,
    "rare_workflow": RARE_WORKFLOW,
    "rare_tenant": RARE_TENANT,
    "shared": SHARED_CORRELATION,
    "customer": SHARED_CUSTOMER,
    "parked": PARKED,
    "under_way": UNDER_WAY,
}


def _run(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
