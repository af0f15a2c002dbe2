"""Pages over HTTP among a million sagas: how long each takes, and what its statements read.

They are timed one after the other, as one person would ask for them. Then another server, whose sessions explain their
statements into PostgreSQL's log (auto_explain), is asked for each once: so the times have no part of explaining.
"""

import json
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from django.db import connection as database

from devstack.scale_server import Answer, Served, ask, serving
from interfaces.progress_bar import ProgressBar

PAGES = (
    "/api/sagas/transactions/",
    "/api/sagas/transactions/?workflow=commandes&status=COMPLETED",
    "/api/sagas/transactions/{id}/",
    "/api/sagas/transactions/{id}/events/",
    "/api/sagas/transactions/{parked}/",
    "/api/sagas/failures/",
    "/api/sagas/statistics/",
    "/console/",
    "/console/?status=STUCK",
    "/console/?workflow=commandes&status=COMPLETED",
    "/console/?q={id}",
    "/console/sagas/{id}/",
    "/console/sagas/{parked}/",
    "/console/trouble/",
    "/console/statistics/",
)
"""Every path; `{id}` is a finished saga in the middle of all, `{parked}` the newest parked one."""
ROUNDS = 50
WARM_UP = 5
"""Requests that are not counted: each of gunicorn's processes imports, connects and prepares its statements."""
LARGE = ("sagas", "saga_evenements")
EXPLAINING = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_nested_statements": "on",
}
_PLAN = re.compile(r"LOG:  duration: [0-9.]+ ms  plan:\n((?:\t.*\n)+)")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_ANOTHER_DRIVER = "UPDATE sagas SET lease_owner = 'scale:' || pg_current_xact_id() WHERE id = ANY (%s::uuid[])"
# A remedy for no saga, which has ended: the least that changes what lists and counts are kept by.
_NO_CHANGE = "DELETE FROM saga_bulk WHERE actor = 'scale'"
_CHANGE = f"""
WITH before AS ({_NO_CHANGE})
INSERT INTO saga_bulk (
    id, "group", verb, reason, actor, per_second, total, done, refused, created_at, finished_at, cancelled
) VALUES (uuidv7(), '', 'retry', 'measured', 'scale', 1, 0, 0, 0, now(), now(), false)
"""  # noqa: S608 - our own
_ABSENT, _WELL = 404, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the statements of one page read.

    How many there were, the most rows that one part of a plan went through, and the large tables read from end to end.
    """

    statements: int
    rows: int
    whole: tuple[str, ...]


def measure(data: Path, pages: Sequence[str], rounds: int, within: float) -> bool:
    """Print a table; whether every page there is was well, within so many milliseconds at the median."""
    named = {page: page.format(**_ids()) for page in pages or PAGES}
    with serving(data) as served, ProgressBar("asking", len(named), "pages") as bar:
        timed = {}
        for name, path in named.items():
            timed[name] = _timed(served, path, rounds)
            bar.advance(name)
    with serving(data, EXPLAINING) as served:
        read = {name: _read(served, path, data / "postgres" / "postgres.log") for name, path in named.items()}
    with database.cursor() as cursor:
        cursor.execute(_NO_CHANGE)
    print("\n| page | status | kB | median ms | p95 ms | statements | rows | read whole |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for name in named:
        print(_row(name, timed[name], read[name]))
    faults = [fault for name in named for fault in _faults(name, timed[name], read[name], within)]
    print("", *faults or [f"all within {within:g} ms at the median, and none reads a large table whole"], sep="\n")
    return not faults


def plans_in(log: str) -> Iterator[dict[str, Any]]:
    """The plans that auto_explain wrote there."""
    for found in _PLAN.finditer(log):
        yield json.loads(found[1])


def reading(plans: Sequence[dict[str, Any]]) -> Reading:
    """What these statements read."""
    nodes = [node for plan in plans for node in _nodes(plan["Plan"]) if node["Actual Loops"]]
    large = [node for node in nodes if node.get("Relation Name") in LARGE or "Index Name" in node]
    whole = {node["Relation Name"] for node in large if node["Node Type"] == "Seq Scan"}
    return Reading(statements=len(plans), rows=max(map(_rows, large), default=0), whole=tuple(sorted(whole)))


def _ids() -> dict[str, str]:
    """A finished saga in the middle, and the newest parked one."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT id FROM sagas WHERE id >= uuidv7(interval '-45 days') ORDER BY id LIMIT 1),"
            " (SELECT id FROM sagas WHERE finished_at IS NULL AND status = 'STUCK' ORDER BY id DESC LIMIT 1)"
        )
        return dict(zip(("id", "parked"), map(str, cursor.fetchone()), strict=True))


def _timed(served: Served, path: str, rounds: int) -> list[Answer]:
    client = served.connect()
    first = ask(client, path)
    if first.status == _ABSENT:
        return [first]
    for _ in range(WARM_UP):
        ask(client, path)
    return [_ask_afresh(client, path) for _ in range(rounds)]


def _ask_afresh(client: HTTPConnection, path: str) -> Answer:
    """Ask after a change: a page that is kept until then would be measured as if it cost nothing."""
    with database.cursor() as cursor:
        cursor.execute(_CHANGE)
        cursor.execute(_ANOTHER_DRIVER, [_ID.findall(path)])
    return ask(client, path)


def _read(served: Served, path: str, log: Path) -> Reading:
    client = served.connect()
    for _ in range(WARM_UP):  # what a process asks only once, such as the definitions, is not the page's
        ask(client, path)
    begun = log.stat().st_size
    _ask_afresh(client, path)
    with log.open("rb") as file:
        file.seek(begun)
        return reading(list(plans_in(file.read().decode())))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _rows(node: dict[str, Any]) -> int:
    left_out = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
    return round((node["Actual Rows"] + left_out) * node["Actual Loops"])


def _median(timed: Sequence[Answer]) -> float:
    return statistics.median(answer.milliseconds for answer in timed)


def _row(name: str, timed: Sequence[Answer], read: Reading) -> str:
    last = timed[-1]
    if last.status == _ABSENT:
        return f"| {name} | absent | | | | | | |"
    times = sorted(answer.milliseconds for answer in timed)
    late = times[len(times) * 95 // 100]
    figures = f"{last.status} | {last.size / 1000:.1f} | {_median(timed):.1f} | {late:.1f}"
    return f"| {name} | {figures} | {read.statements} | {read.rows:,} | {', '.join(read.whole)} |"


def _faults(name: str, timed: Sequence[Answer], read: Reading, within: float) -> Iterator[str]:
    status = {answer.status for answer in timed}
    if status == {_ABSENT}:
        return
    if status != {_WELL}:
        yield f"{name}: answered with {', '.join(map(str, sorted(status)))}"
    if _median(timed) > within:
        yield f"{name}: {_median(timed):.1f} ms at the median, more than {within:g}"
    for table in read.whole:
        yield f"{name}: reads all of {table}"
