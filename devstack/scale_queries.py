"""The queries of the worker, of retention and of the API, each as its own code makes it, and what each touched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction

from application.queries import EventFilter, SagaFilter
from application.statistics import EPOCH, EVER
from devstack.scale_data import RARE_TENANT, RARE_WORKFLOW, SHARED_CORRELATION, SHARED_CUSTOMER
from domain.workflows.commandes import COMMANDES
from infrastructure.models import BusinessIdRow
from infrastructure.retention import PostgresRetention
from infrastructure.saga_queries import PostgresSagaQueries
from infrastructure.saga_store import _STATEMENTS
from infrastructure.statistics import PostgresStatistics

PAGE = 51
"""Rows of the API's usual page: 50, and one to know whether there are more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What EXPLAIN (ANALYZE, BUFFERS) said of one query: all its statements together."""

    milliseconds: float
    buffers: int
    """Pages of 8 kB, found in memory or read."""
    scans: tuple[str, ...]
    """Each index that was read."""
    whole: tuple[str, ...]
    """Each table that was read whole, by the triggers too."""


def measured(rounds: int) -> Iterator[tuple[str, list[Plan]]]:
    """Every query by its name, so many times; what it changes is rolled back each time."""
    for name, ask in queries().items():
        yield name, [explained(ask) for _ in range(rounds)]


def explained(ask: Callable[[], Any]) -> Plan:
    """What the query does to the database, which is afterwards as it was."""
    found: list[dict[str, Any]] = []
    with transaction.atomic():
        before = _read_whole()
        with _explaining(found):
            ask()
        after = _read_whole()
        transaction.set_rollback(True)
    nodes = [node for plan in found for node in _nodes(plan["Plan"])]
    return Plan(
        milliseconds=sum(plan["Execution Time"] + plan["Planning Time"] for plan in found),
        buffers=sum(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] for plan in found),
        scans=tuple(sorted({node["Index Name"] for node in nodes if "Index Name" in node})),
        whole=tuple(sorted(name for name in after if after[name] > before.get(name, 0))),
    )


def _read_whole() -> dict[str, int]:
    """How often this transaction has read each table from end to end."""
    return dict(_ask("SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname ~ '^saga'", []))


@contextmanager
def _explaining(found: list[dict[str, Any]]) -> Iterator[None]:
    """Explain every statement of the block, and then run it for its answer."""

    def explain(execute: Any, statement: str, *rest: Any) -> Any:
        execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, *rest)
        *_, context = rest
        ((plans,),) = context["cursor"].fetchall()
        found.extend(plans)
        return execute(statement, *rest)

    with connection.execute_wrapper(explain):
        yield


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if plan["Actual Loops"]:
        yield plan
        for part in plan.get("Plans", ()):
            yield from _nodes(part)


def queries() -> dict[str, Callable[[], Any]]:
    """Every query by its name."""
    middle, late = _saga_at(0.5), _saga_at(0.99)
    started = {"middle": middle["created_at"], "late": late["created_at"], "early": _saga_at(0.01)["created_at"]}
    return {
        **_of_the_worker(),
        **_of_retention(),
        **{f"list {name}": _listing(chosen) for name, chosen in _filters(middle, started).items()},
        **_of_events(middle["id"]),
        **_of_tail(middle["id"]),
        "numbers of a scrape": _scrape,
        "statistics": PostgresSagaQueries().counts,
        "what open pages ask": PostgresSagaQueries().mark,
        "what 40 open pages of a saga ask": lambda: PostgresSagaQueries().standings(_newest(40)),
        **_of_statistics(),
    }


def _newest(sagas: int) -> list[UUID]:
    return [row["id"] for row in PostgresSagaQueries().sagas(SagaFilter(active=False), sagas)]


def _of_the_worker() -> dict[str, Callable[[], Any]]:
    now = datetime.now(UTC)
    values = {"token": uuid4(), "owner": "w", "lease_expires_at": now + timedelta(seconds=30), "now": now, "limit": 8}
    return {"claim 8": lambda: _ask(_STATEMENTS["claim"].text, values)}


def _of_retention() -> dict[str, Callable[[], Any]]:
    retention, before = PostgresRetention(), datetime.now(UTC) - timedelta(days=1)
    return {
        "prune 500": lambda: retention.prune("commandes", before, None, 500),
        "prune 500, 45 days in": lambda: retention.prune("commandes", before, before - timedelta(days=45), 500),
        "prune a rare workflow": lambda: retention.prune(RARE_WORKFLOW, before, None, 500),
        "prune, nothing left": lambda: retention.prune("commandes", before - timedelta(days=999), None, 500),
    }


def _of_statistics() -> dict[str, Callable[[], Any]]:
    read, now = PostgresStatistics(), datetime.now(UTC)
    week, names = now - timedelta(days=7), ["commandes", RARE_WORKFLOW]

    def of_a_week(workflow: str | None) -> None:
        read.rolled(3600, week, workflow)
        read.ended(3600, week)
        read.live_since(3600, week, workflow)

    return {
        "statistics of a week": lambda: of_a_week(None),
        "statistics of a week, one workflow": lambda: of_a_week(RARE_WORKFLOW),
        "totals ever": lambda: read.ended(EVER, EPOCH),
        "roll up 1000": lambda: read.roll_up(now, 1000),
        "last 100 of each workflow": lambda: read.recent(names, 100),
        "times of the newest 200": lambda: read.times("commandes", COMMANDES.version, 200, 20_000),
    }


def _filters(middle: dict[str, Any], started: dict[str, datetime]) -> dict[str, SagaFilter]:
    hour = timedelta(hours=1)
    return {
        "everything": SagaFilter(),
        "everything, a page in the middle": SagaFilter(before=middle["id"]),
        "active": SagaFilter(active=True),
        "finished": SagaFilter(active=False),
        "status=COMPLETED": SagaFilter(status="COMPLETED"),
        "status=COMPENSATED": SagaFilter(status="COMPENSATED"),
        "status=STUCK": SagaFilter(status="STUCK"),
        "status=PAUSED (few)": SagaFilter(status="PAUSED"),
        "state=SAGA_TERMINEE": SagaFilter(state="SAGA_TERMINEE"),
        "state=SAGA_ANNULEE": SagaFilter(state="SAGA_ANNULEE"),
        "state=VERIFICATION_STOCK (live)": SagaFilter(state="VERIFICATION_STOCK"),
        "state=NOWHERE (none)": SagaFilter(state="NOWHERE"),
        "workflow=commandes": SagaFilter(workflow="commandes"),
        "workflow, a page in the middle": SagaFilter(workflow="commandes", before=middle["id"]),
        "workflow (rare)": SagaFilter(workflow=RARE_WORKFLOW),
        "workflow (none)": SagaFilter(workflow="nothing"),
        "workflow (rare), status=COMPENSATED": SagaFilter(workflow=RARE_WORKFLOW, status="COMPENSATED"),
        "workflow (rare), status=FAILED (none)": SagaFilter(workflow=RARE_WORKFLOW, status="FAILED"),
        "tenant": SagaFilter(tenant="tills"),
        "tenant (rare)": SagaFilter(tenant=RARE_TENANT),
        "tenant (none)": SagaFilter(tenant="nobody"),
        "tenant, status=COMPENSATED": SagaFilter(tenant="tills", status="COMPENSATED"),
        "tenant (rare), state=SAGA_ANNULEE (none)": SagaFilter(tenant=RARE_TENANT, state="SAGA_ANNULEE"),
        "correlation_id": SagaFilter(correlation_id=middle["correlation_id"]),
        "correlation_id (of many)": SagaFilter(correlation_id=SHARED_CORRELATION),
        "correlation_id (none)": SagaFilter(correlation_id="nothing"),
        "created_after, late": SagaFilter(created_after=started["late"]),
        "created_before, early": SagaFilter(created_before=started["early"]),
        "created within an hour": SagaFilter(created_after=started["middle"], created_before=started["middle"] + hour),
        "created within an hour, status=COMPENSATED (none)": SagaFilter(
            status="COMPENSATED", created_after=started["middle"], created_before=started["middle"] + hour
        ),
        "created in the future (none)": SagaFilter(created_after=datetime.now(UTC) + hour),
        "q=id": SagaFilter(q=str(middle["id"])),
        "q=correlation id": SagaFilter(q=middle["correlation_id"]),
        "q=business id": SagaFilter(q=_business_id_of(middle["id"])),
        "q=business id (of many)": SagaFilter(q=SHARED_CUSTOMER),
        "q=business id (of many), a page in the middle": SagaFilter(q=SHARED_CUSTOMER, before=_saga_at(0.02)["id"]),
        "q (none)": SagaFilter(q=str(uuid4())),
    }


def _listing(chosen: SagaFilter) -> Callable[[], Any]:
    return lambda: PostgresSagaQueries().sagas(chosen, PAGE)


def _of_events(saga_id: UUID) -> dict[str, Callable[[], Any]]:
    asked = PostgresSagaQueries().events
    return {
        "events of a saga": lambda: asked(EventFilter(saga_id=saga_id), PAGE),
        "events": lambda: asked(EventFilter(), PAGE),
        "events, a page in the middle": lambda: asked(EventFilter(after=(saga_id, 2)), PAGE),
        "events type=step_succeeded": lambda: asked(EventFilter(type="step_succeeded"), PAGE),
        "events type=saga_resolved (none)": lambda: asked(EventFilter(type="saga_resolved"), PAGE),
        "events step (none)": lambda: asked(EventFilter(step="nowhere"), PAGE),
    }


def _of_tail(saga_id: UUID) -> dict[str, Callable[[], Any]]:
    asked, now = PostgresSagaQueries(), datetime.now(UTC)
    return {
        "tail: live ones": lambda: asked.live(None),
        "tail: ended within ten seconds": lambda: asked.ended(None, now - timedelta(seconds=10), PAGE),
        "tail: ended since a month, the first of them": lambda: asked.ended(None, now - timedelta(days=30), PAGE),
        "tail: new events of one that moved": lambda: asked.events_beyond({saga_id: 2}, now - timedelta(days=90)),
    }


def _scrape() -> None:
    from infrastructure.database_numbers import numbers  # noqa: PLC0415 - metrics count from their import on

    numbers(datetime.now(UTC))


def _saga_at(part: float) -> dict[str, Any]:
    """The finished order that this part of them is older than."""
    statement = (
        "SELECT id, created_at, correlation_id FROM sagas WHERE id >= (SELECT uuidv7(interval '90 days' * (%s - 1.0)))"
        " ORDER BY id LIMIT 1"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [part])
        return dict(zip(("id", "created_at", "correlation_id"), cursor.fetchone(), strict=True))


def _business_id_of(saga_id: UUID) -> str:
    return str(BusinessIdRow.objects.filter(saga_id=saga_id).order_by("name").values_list("value", flat=True)[0])


def _ask(statement: str, values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
