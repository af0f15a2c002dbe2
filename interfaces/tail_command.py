"""`manage.py saga tail`: its options, and the loop that looks, shows and waits."""

import contextlib
import os
import re
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TextIO
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from domain.events import SagaStatus
from domain.exceptions import StoreUnavailable
from interfaces.platform import Platform, platform
from interfaces.tail import Tail
from interfaces.tail_view import JsonLines, Lines, OneSaga, Screen, View

POLL = 0.5
"""Seconds between two looks."""
FASTEST, SLOWEST = 0.1, 60.0
BEGINNING = datetime.min.replace(tzinfo=UTC)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AWAY = (OperationalError, InterfaceError, StoreUnavailable)


def add_options(parser: ArgumentParser, saga_id: Callable[[str], UUID]) -> None:
    """Which events, and how they are shown."""
    parser.add_argument("id", type=saga_id, nargs="?", metavar="ID", help="follow this saga to its end, as --saga does")
    parser.add_argument(
        "--saga",
        type=saga_id,
        metavar="ID",
        help="follow this saga to its end: its steps, its undos and what it waits for",
    )
    parser.add_argument("--workflow", metavar="NAME", help="only sagas of this workflow (default: all)")
    parser.add_argument(
        "--status",
        choices=[status.value for status in SagaStatus],
        metavar="STATUS",
        help="only events that left their saga in this status: "
        + ", ".join(status.value for status in SagaStatus)
        + " (default: all)",
    )
    parser.add_argument(
        "--since",
        type=_since,
        metavar="WHEN",
        help="begin with what happened since then: an age such as 90s, 15m, 2h, 1d, or a time such as "
        "2026-01-31T12:00Z (default: now; for one saga, its start)",
    )
    parser.add_argument(
        "--poll",
        type=_poll,
        default=POLL,
        metavar="SECONDS",
        help=f"seconds between two looks, {FASTEST:g} to {SLOWEST:g} (default %(default)g)",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--plain", action="store_true", help="a line an event (default where stdout is no terminal)")
    shown.add_argument("--json", action="store_true", help="a JSON object an event, each on a line")


def follow(given: Namespace, out: TextIO, err: TextIO) -> None:
    """Show what happens until Ctrl-C, or until the one saga has ended."""
    built, followed = platform(), given.saga or given.id
    view = _view(given, out, err)
    look = _one(built, view, followed, given.since) if followed else _all(built, view, given)
    try:
        with view:
            patient = _patient(look, view, connection.close)
            while not patient():
                time.sleep(given.poll)
    except BrokenPipeError:  # whoever read it has had enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _view(given: Namespace, out: TextIO, err: TextIO) -> View:
    if given.json:
        return JsonLines(out, err)
    if given.plain or not out.isatty():
        return Lines(out, err)
    if given.saga or given.id:
        return OneSaga(out)
    chosen = [given.workflow or "all workflows", given.status or "any status"]
    return Screen(out, ", ".join(chosen))


def _one(built: Platform, view: View, saga_id: UUID, since: datetime | None) -> Callable[[], bool]:
    """Raises SagaNotFound: an unknown one is said to be, not waited for."""
    engine = built.engine
    engine.store.load(saga_id)
    seen = 0

    def look() -> bool:
        nonlocal seen
        rows = built.queries.events_beyond({saga_id: seen}, since or BEGINNING)
        if rows:
            seen = rows[-1]["seq"]
            view.events(rows)
        standing = engine.store.look(saga_id)
        if rows or not standing.saga.resting:
            view.saga(standing, engine.clock.now())
        return standing.saga.finished and seen >= standing.saga.seq

    return look


def _all(built: Platform, view: View, given: Namespace) -> Callable[[], bool]:
    tail = Tail(built.queries, given.workflow, given.since)

    def look() -> bool:
        for rows in tail.look():
            view.events([row for row in rows if given.status in {None, row["status"]}])
        return False

    return look


def _patient(look: Callable[[], bool], view: View, reconnect: Callable[[], None]) -> Callable[[], bool]:
    """The same, but a database that does not answer is waited for."""
    away = False

    def tried() -> bool:
        nonlocal away
        try:
            ended = look()
        except _AWAY as error:
            if not away:
                reason = str(error.__cause__ or error).strip().partition("\n")[0]
                view.say(f"the database does not answer: {reason}; waiting for it")
            away = True
            reconnect()
            return False
        if away:
            view.say("the database answers again; nothing was missed")
            away = False
        return ended

    return tried


def _since(text: str) -> datetime:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text, re.ASCII)
    try:
        if found:
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is neither an age, like 15m or 2h, nor a time, like 2026-01-31T12:00Z"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _poll(text: str) -> float:
    with contextlib.suppress(ValueError):
        if FASTEST <= float(text) <= SLOWEST:
            return float(text)
    raise ArgumentTypeError(f"{text!r} is not a number of seconds from {FASTEST:g} to {SLOWEST:g}")
