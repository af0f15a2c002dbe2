"""Sagas on the command line: list, show, follow, and the operator's verbs."""

import getpass
import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from application.operations import Act, Preview
from application.queries import EventFilter, SagaFilter
from domain.entities import Saga
from domain.events import Action, SagaStatus
from domain.exceptions import SagaError
from domain.operations import By
from interfaces.operations_api import LONGEST_REASON
from interfaces.platform import platform
from interfaces.presentation import call_json, seen_json
from interfaces.privacy import masked_call, masked_events, masked_row, masked_saga
from interfaces.wire import JSONRenderer

VERBS: dict[str, tuple[str, Callable[[Namespace], Act]]] = {
    "retry": ("try again now: what waits, and what was given up", lambda _: Saga.retry),
    "skip": (
        "take the step at which the saga stands, or its undo, as done",
        lambda given: partial(
            Saga.skip,
            step=given.step,
            item=given.item,
            output=given.output,
            action=Action.UNDO if given.undo else Action.DO,
        ),
    ),
    "compensate": ("turn back and undo what was done, also of a completed saga", lambda _: Saga.compensate),
    "pause": ("hold the saga", lambda _: Saga.pause),
    "resume": ("let a paused saga go on", lambda _: Saga.resume),
    "resolve": ("declare it settled by hand", lambda given: partial(Saga.resolve, end=given.outcome)),
}
LOOK_EVERY = 0.5
"""Seconds between two looks for new events."""
MOST = 200


class Command(BaseCommand):
    """`python manage.py saga <what> ...`."""

    help = "List, show and follow sagas, and act on them. `saga <what> --help` explains each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One parser for each thing that can be done."""
        actions = parser.add_subparsers(dest="what", required=True, metavar="what", parser_class=ArgumentParser)
        self._add_list(actions.add_parser("list", help="sagas, newest first"))
        show = actions.add_parser("show", help="one saga: what it waits for, its history")
        show.add_argument("saga", type=_id, help="the saga's id")
        show.add_argument("--json", action="store_true", help="as the API answers: for programs, nothing is masked")
        tail = actions.add_parser("tail", help="follow events as they happen, until Ctrl-C or the saga's end")
        tail.add_argument("saga", type=_id, nargs="?", help="only this saga (default: all that are live, and new ones)")
        for verb, (text, _) in VERBS.items():
            self._add_verb(actions.add_parser(verb, help=text, description=text.capitalize() + "."), verb)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it; what the engine refuses is said without a trace."""
        given = Namespace(**options)
        with _said(self):
            if given.what in VERBS:
                self._act(given)
            else:
                {"list": self._list, "show": self._show, "tail": self._tail}[given.what](given)

    def _add_list(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workflow", help="only this workflow")
        parser.add_argument("--status", choices=[status.value for status in SagaStatus], help="only this status")
        parser.add_argument("--active", action="store_true", default=None, help="only those that are not finished")
        parser.add_argument("--q", metavar="ID", help="a saga id, a correlation id or a business id")
        parser.add_argument("--limit", type=_limit, default=20, help=f"1 to {MOST}, 20 unless told")

    def _add_verb(self, parser: ArgumentParser, verb: str) -> None:
        parser.add_argument("saga", type=_id, help="the saga's id")
        parser.add_argument("--reason", required=True, type=_reason, help="why; kept in the saga's history")
        parser.add_argument("--actor", default=getpass.getuser(), help="who; kept too (default: you, %(default)s)")
        parser.add_argument("--preview", action="store_true", help="show the calls that would go out, and send none")
        if verb == "skip":
            parser.add_argument("--step", required=True, help="the step's name")
            parser.add_argument("--item", type=int, help="which item of a foreach step, from 0")
            parser.add_argument("--undo", action="store_true", help="take its undo as done instead")
            parser.add_argument("--output", type=_json, help="what later steps read as its output, JSON")
        if verb == "resolve":
            parser.add_argument("--outcome", required=True, choices=["completed", "compensated"], help="how it ended")

    def _act(self, given: Namespace) -> None:
        act, by = VERBS[given.what][1](given), By(actor=given.actor, reason=given.reason)
        operations = platform().operations
        if given.preview:
            self._write_preview(operations.preview(given.saga, act, by))
            return
        saga = operations.act(given.saga, act, by)
        self.stdout.write(f"{saga.id} is {saga.status} ({saga.state})")

    def _write_preview(self, preview: Preview) -> None:
        self.stdout.write(
            f"the saga would be {preview.saga.status} ({preview.saga.state}), and these calls would follow:"
        )
        calls = (masked_call(call_json(call), preview.saga) for call in preview.calls)
        for number, call in enumerate(calls, start=1):
            place = call["step"] if call["item"] is None else f"{call['step']}[{call['item']}]"
            line = f"  {number}. {place}: {call['method']} {call['service']} {call['path']}"
            self.stdout.write(line if call["certain"] else f"{line}  (depends on the answers before)")
        if not preview.calls:
            self.stdout.write("  none")

    def _list(self, given: Namespace) -> None:
        chosen = SagaFilter(workflow=given.workflow, status=given.status, active=given.active, q=given.q)
        rows = platform().queries.sagas(chosen, given.limit)
        for row in map(masked_row, rows):
            reason = (row["error"] or {}).get("reason", "")
            started = row["created_at"].strftime("%Y-%m-%d %H:%M:%S")
            self.stdout.write(
                f"{row['id']}  {started}  {row['workflow']:<18} {row['status']:<12} {row['state']}  {reason}"
            )
        if not rows:
            self.stderr.write("no saga")

    def _show(self, given: Namespace) -> None:
        engine = platform().engine
        seen = engine.store.look(given.saga)
        shown = seen_json(seen, engine.clock.now())
        if given.json:
            self.stdout.write(JSONRenderer().render(shown).decode())
            return
        shown = masked_saga(shown, seen.saga)
        for name in ("id", "workflow", "version", "correlation_id", "status", "state", "created_at", "finished_at"):
            self.stdout.write(f"{name:<15} {shown[name]}")
        self.stdout.write(f"\n{shown['explanation']}\n")
        after = max(0, shown["seq"] - MOST)
        if after:
            self.stdout.write(f"... {after} earlier events; GET {shown['events']} has them")
        for event in _events(given.saga, after):
            self.stdout.write(event_line(event))

    def _tail(self, given: Namespace) -> None:
        if given.saga:
            platform().engine.store.load(given.saga)  # an unknown one is said to be, not waited for
        seen: dict[UUID, int] = {} if given.saga else {row["id"]: _last_seq(row["id"]) for row in _current(given.saga)}
        while True:
            rows = _current(given.saga)
            for row in reversed(rows):
                for event in _events(row["id"], seen.get(row["id"], 0)):
                    seen[row["id"]] = event["seq"]
                    prefix = "" if given.saga else f"{row['id']} {row['workflow']} "
                    self.stdout.write(f"{prefix}{event_line(event)}")
            self.stdout.flush()
            if given.saga and rows[0]["finished_at"]:
                return
            time.sleep(LOOK_EVERY)


def event_line(event: dict[str, Any]) -> str:
    """One event as a person reads it."""
    place = event["step"] or ""
    if event["item"] is not None:
        place += f"[{event['item']}]"
    parts = [
        event["at"].strftime("%H:%M:%S.%f")[:-3],
        f"{event['seq']:>3}",
        f"{event['status']:<12}",
        f"{event['type']:<20}",
        place,
        event["action"] or "",
        f"attempt {event['attempt']}" if event["attempt"] else "",
        event["outcome"] or "",
        f"HTTP {event['http_status']}" if event["http_status"] else "",
        f"{event['duration'] * 1000:.0f} ms" if event["duration"] is not None else "",
        f"due {event['due_at']:%H:%M:%S}" if event["due_at"] else "",
        f"by {event['actor']}" if event["actor"] else "",
        event["reason"] or "",
    ]
    return " ".join(part for part in parts if part)


def _current(saga_id: UUID | None) -> list[dict[str, Any]]:
    """The saga, or the newest and all live ones, newest first."""
    if saga_id:
        return platform().queries.sagas(SagaFilter(q=str(saga_id)), 1)
    found = platform().queries.sagas(SagaFilter(), MOST) + platform().queries.sagas(SagaFilter(active=True), MOST)
    return sorted({row["id"]: row for row in found}.values(), key=lambda row: row["id"], reverse=True)


def _events(saga_id: UUID, after: int) -> list[dict[str, Any]]:
    """The saga's events after this one, as people see them."""
    return masked_events(platform().queries.events(EventFilter(saga_id=saga_id, after=(saga_id, after)), MOST))


def _last_seq(saga_id: UUID) -> int:
    return platform().engine.store.load(saga_id).seq


@contextmanager
def _said(command: BaseCommand) -> Iterator[None]:
    try:
        yield
    except (SagaError, DatabaseError) as error:
        raise CommandError(str(error).strip()) from None
    except KeyboardInterrupt:
        command.stderr.write("")
        sys.exit(130)


def _reason(text: str) -> str:
    if not 1 <= len(text.strip()) <= LONGEST_REASON:
        raise ValueError
    return text.strip()


_reason.__name__ = f"reason (1 to {LONGEST_REASON} characters)"


def _id(text: str) -> UUID:
    return UUID(text)


_id.__name__ = "saga id"  # what argparse calls it when it is wrong


def _limit(text: str) -> int:
    if not 1 <= int(text) <= MOST:
        raise ValueError
    return int(text)


_limit.__name__ = f"limit (1 to {MOST})"


def _json(text: str) -> Any:
    return json.loads(text)


_json.__name__ = "JSON"
