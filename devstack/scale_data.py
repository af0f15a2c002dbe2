"""Finished sagas by the hundred thousand, made by PostgreSQL itself; a few rare ones are the oldest of all.

The oldest, because lists are newest first: a query that finds them by walking over the others is caught.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from django.db import connection, transaction

from domain.workflows.commandes import COMMANDES
from infrastructure.definition_store import DefinitionStore
from infrastructure.statistics import PostgresStatistics

RARE_WORKFLOW = "retours"
RARE_TENANT = "kiosk"
SHARED_CORRELATION = "migration"
"""A correlation id that a twentieth of all sagas have, all of them among the oldest."""
RARE = 20
"""Sagas of each rare kind."""
LIVE = 100
SHARED_CUSTOMER = "customer-of-many"
"""A business id that a twentieth of all sagas have, all of them among the oldest."""
TABLES = "sagas, saga_evenements, saga_business_ids, saga_rollup, saga_rollup_due"
DUE = 5000
"""Endings that are left for the rollup, so that it has something to count; at most a half of all."""

# Of every 100 orders 3 were refused. The ids are UUIDv7 over the last 90 days, in the order in which they are stored.
_FINISHED_WITH_HISTORY = """
WITH stored AS (
    INSERT INTO sagas (
        id, workflow, version, tenant, correlation_id, status, state, data, error, seq, lease_token, lease_owner,
        deadline_at, created_at, updated_at, finished_at
    )
    SELECT
        id, workflow, %(version)s, tenant, CASE WHEN number <= %(of)s / 20 THEN %(shared)s ELSE 'order-' || number END,
        status::saga_status, CASE status WHEN 'COMPLETED' THEN 'SAGA_TERMINEE' ELSE 'SAGA_ANNULEE' END,
        jsonb_build_object('max_retries', 3, 'input', jsonb_build_object(
            'client_id', gen_random_uuid(), 'magasin_id', gen_random_uuid(),
            'lignes', jsonb_build_array(jsonb_build_object('produit_id', gen_random_uuid(), 'quantite', 1))
        )),
        CASE status WHEN 'COMPLETED' THEN NULL ELSE
            '{"step": "verification_stock", "item": 0, "outcome": "rejected", "reason": "sold out"}'::jsonb END,
        %(events)s, gen_random_uuid(), 'host:1', at + interval '30 s', at, at + interval '1 s', at + interval '1 s'
    FROM (
        SELECT
            number, id, uuid_extract_timestamp(id) AS at,
            CASE WHEN number BETWEEN 1 AND %(rare)s THEN %(rare_workflow)s ELSE 'commandes' END AS workflow,
            CASE WHEN number BETWEEN %(rare)s + 1 AND 2 * %(rare)s THEN %(rare_tenant)s
                WHEN number %% 3 = 0 THEN 'web' ELSE 'tills' END AS tenant,
            CASE WHEN number BETWEEN 2 * %(rare)s + 1 AND 3 * %(rare)s THEN 'COMPENSATED'
                WHEN number > 3 * %(rare)s AND number %% 33 = 0 THEN 'FAILED' ELSE 'COMPLETED' END AS status
        FROM (
            SELECT number, uuidv7(interval '90 days' * ((number - %(of)s) / %(of)s::float)) AS id
            FROM generate_series(%(first)s::int, %(last)s) AS number
        ) AS numbered
    ) AS saga
    RETURNING id, created_at, data, correlation_id
), known AS (
    INSERT INTO saga_business_ids (value, saga_id, name)
    SELECT business.value, stored.id, business.name
    FROM stored CROSS JOIN LATERAL (VALUES
        ('commande_id', gen_random_uuid()::text),
        ('client_id', CASE correlation_id WHEN %(shared)s THEN %(customer)s ELSE data #>> '{input,client_id}' END)
    ) AS business (name, value)
)
INSERT INTO saga_evenements (saga_id, seq, type, at, status, state, previous_state, step, action, attempt, outcome,
    reason, output, service, http_method, http_status, duration)
SELECT
    id, event.seq,
    (CASE WHEN event.seq = 1 THEN 'saga_started' WHEN event.seq = %(events)s THEN 'saga_completed'
        WHEN event.seq %% 2 = 0 THEN 'attempt_scheduled' ELSE 'step_succeeded' END)::saga_event_type,
    created_at + event.seq * interval '10 ms', 'RUNNING', 'VERIFICATION_STOCK', 'EN_ATTENTE',
    CASE WHEN event.seq > 1 AND event.seq < %(events)s THEN 'verification_stock' END, 'do', 1, 'succeeded', NULL,
    CASE WHEN event.seq %% 2 = 1 THEN '{"quantite_disponible": 500}'::jsonb END, 'inventaire', 'GET', 200, 0.004
FROM stored CROSS JOIN generate_series(1, %(events)s) AS event (seq)
ORDER BY id, event.seq
"""
# A third due, a third in a driver's hands, a third parked.
_LIVE = """
INSERT INTO sagas (
    id, workflow, version, tenant, correlation_id, status, state, data, error, seq, lease_token, lease_owner,
    lease_expires_at, deadline_at, created_at, updated_at
)
SELECT
    id, 'commandes', %(version)s, 'tills', 'live-' || number, status::saga_status,
    CASE status WHEN 'RUNNING' THEN 'CREATION_COMMANDE' ELSE 'COMPENSATION_EN_COURS' END,
    '{"input": {}, "max_retries": 3}', CASE status WHEN 'RUNNING' THEN NULL ELSE '{}'::jsonb END, 2,
    gen_random_uuid(), 'host:1',
    CASE WHEN status = 'RUNNING' THEN now() + CASE number %% 3 WHEN 0 THEN -1 ELSE 1 END * interval '1 hour' END,
    now(), now(), now()
FROM (
    SELECT number, uuidv7() AS id, CASE number %% 3 WHEN 2 THEN 'STUCK' ELSE 'RUNNING' END AS status
    FROM generate_series(1, %(live)s) AS number
) AS saga
"""


def fill(sagas: int, events: int, chunk: int, progress: Callable[[int, int], None]) -> None:
    """Store so many finished sagas with so many events each, then the live ones, and the planner's statistics."""
    DefinitionStore([COMMANDES, replace(COMMANDES, name=RARE_WORKFLOW)]).register()
    for first in range(1, sagas + 1, chunk):
        last = min(first + chunk - 1, sagas)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                _FINISHED_WITH_HISTORY, {"of": sagas, "events": events, "first": first, "last": last, **_WORDS}
            )
        progress(last, sagas)
    with connection.cursor() as cursor:
        cursor.execute(_LIVE, {"live": LIVE, **_WORDS})


_WORDS = {
    "version": COMMANDES.version,
    "rare": RARE,
    "rare_workflow": RARE_WORKFLOW,
    "rare_tenant": RARE_TENANT,
    "shared": SHARED_CORRELATION,
    "customer": SHARED_CUSTOMER,
}


def ensure(sagas: int, events: int, chunk: int, progress: Callable[[int, int], None]) -> None:
    """Fill an empty database, or keep one that has been filled so; anything else is emptied first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM sagas), (SELECT count(*) FROM saga_evenements),"
            " (SELECT count(*) FROM saga_business_ids)"
        )
        if cursor.fetchone() != (sagas + LIVE, sagas * events, sagas * 2):
            cursor.execute(f"TRUNCATE {TABLES}")
            fill(sagas, events, chunk, progress)
            left = sagas - min(DUE, sagas // 2)
            while left > 0:
                left -= PostgresStatistics().roll_up(datetime.now(UTC), min(left, chunk))
        cursor.execute(f"VACUUM (ANALYZE) {TABLES}, saga_definitions")


def sizes() -> str:
    """Of the tables and their indexes, as lines of text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_size_pretty(pg_relation_size(oid)), reltuples::bigint FROM pg_class"
            " WHERE relname ~ '^saga' AND relkind IN ('r', 'i') AND pg_relation_size(oid) > 1e6"
            " ORDER BY relkind DESC, relname"
        )
        return "\n".join(f"{name}: {size}, {rows:,} rows" for name, size, rows in cursor.fetchall())
