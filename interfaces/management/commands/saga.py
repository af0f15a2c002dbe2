"""Sagas on the command line: list, show, follow, and the operator's verbs."""

import getpass
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO, cast
from uuid import UUID

from django.core.management.base import CommandError
from django.db import DatabaseError

from application.operations import Act, Preview
from application.queries import EventFilter, SagaFilter
from domain.entities import Saga
from domain.events import Action, SagaStatus
from domain.exceptions import SagaError
from domain.operations import By
from interfaces import tail_command
from interfaces.command_help import ending
from interfaces.operations_api import LONGEST_REASON
from interfaces.plain_text import plain
from interfaces.platform import platform
from interfaces.presentation import call_json, seen_json
from interfaces.privacy import masked_call, masked_events, masked_rows, masked_saga
from interfaces.saga_command import SagaCommand
from interfaces.tail_view import event_line
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
    "pause": ("hold the saga: nothing goes out until it is resumed", lambda _: Saga.pause),
    "resume": ("let a paused saga go on", lambda _: Saga.resume),
    "resolve": ("declare it settled by hand", lambda given: partial(Saga.resolve, end=given.outcome)),
}
MOST = 200
ID = "0192f0c1-2a3b-7c4d-8e5f-000000000001"
WHY = '--reason "payments is back"'
EXAMPLES = {
    "list": ("list --status STUCK", "list --workflow commandes --active --limit 50", "list --q till-7-0042"),
    "show": (f"show {ID}", f"show {ID} --json"),
    "tail": (
        "tail",
        f"tail --saga {ID}",
        "tail --since 15m --status STUCK --plain",
        "tail --json --workflow commandes",
    ),
    "retry": (f"retry {ID} {WHY} --preview", f"retry {ID} {WHY}"),
    "skip": (f"skip {ID} --step reservation_stock --item 0 --undo {WHY}",),
    "compensate": (f"compensate {ID} {WHY}",),
    "pause": (f"pause {ID} {WHY}",),
    "resume": (f"resume {ID} {WHY}",),
    "resolve": (f"resolve {ID} --outcome compensated {WHY}",),
}
EXITS = "0 well, 1 refused or not possible (a sentence says why), 2 wrong usage, 130 ended by Ctrl-C"


class Command(SagaCommand):
    """`python manage.py saga <what> ...`."""

    help = "List, show and follow sagas, and act on them. `saga <what> --help` explains each."

    examples = ("saga list --status STUCK", f"saga show {ID}", "saga tail", f"saga retry {ID} {WHY}")
    exits = EXITS

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One parser for each thing that can be done."""
        actions = parser.add_subparsers(dest="what", required=True, metavar="what", parser_class=ArgumentParser)
        self._add_list(_action(actions, "list", "sagas, newest first"))
        show = _action(actions, "show", "one saga: what it waits for, its history")
        show.add_argument("saga", type=_id, help="the saga's id")
        show.add_argument("--json", action="store_true", help="as the API answers: for programs, nothing is masked")
        tail = _action(actions, "tail", "follow events as they happen, until Ctrl-C or the saga's end")
        tail_command.add_options(tail, _id)
        for verb, (text, _) in VERBS.items():
            self._add_verb(_action(actions, verb, text), verb)

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
        parser.add_argument("--limit", type=_limit, default=20, metavar="N", help=f"how many, 1 to {MOST} (default 20)")

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
            line = plain(line)
            self.stdout.write(line if call["certain"] else f"{line}  (depends on the answers before)")
        if not preview.calls:
            self.stdout.write("  none")

    def _list(self, given: Namespace) -> None:
        chosen = SagaFilter(workflow=given.workflow, status=given.status, active=given.active, q=given.q)
        rows = platform().queries.sagas(chosen, given.limit)
        for row in masked_rows(rows):
            reason = plain((row["error"] or {}).get("reason", ""))
            started = row["created_at"].strftime("%Y-%m-%d %H:%M:%S")
            self.stdout.write(
                f"{row['id']}  {started}  {row['workflow']:<18} {row['status']:<12} {row['state']}  {reason}"
            )
        if not rows:
            names = sorted({each.name for each in platform().publisher.definitions.all()})
            unknown = given.workflow and given.workflow not in names
            self.stderr.write(f"no saga; the workflows are {', '.join(names)}" if unknown else "no saga")

    def _show(self, given: Namespace) -> None:
        engine = platform().engine
        seen = engine.store.look(given.saga)
        shown = seen_json(seen, engine.clock.now())
        if given.json:
            self.stdout.write(JSONRenderer().render(shown).decode())
            return
        shown = masked_saga(shown, seen.saga)
        for name in ("id", "workflow", "version", "correlation_id", "status", "state", "created_at", "finished_at"):
            self.stdout.write(f"{name:<15} {plain(str(shown[name]))}")
        self.stdout.write(f"\n{plain(shown['explanation'])}\n")
        after = max(0, shown["seq"] - MOST)
        if after:
            self.stdout.write(f"... {after} earlier events; GET {shown['events']} has them")
        events = platform().queries.events(EventFilter(saga_id=given.saga, after=(given.saga, after)), MOST)
        for event in masked_events(events):
            self.stdout.write(event_line({**event, "workflow": shown["workflow"]}))

    def _tail(self, given: Namespace) -> None:
        self.stdout.ending = self.stderr.ending = ""  # Django's streams would end a line after every write
        tail_command.follow(given, cast("TextIO", self.stdout), cast("TextIO", self.stderr))


def _action(actions: Any, name: str, text: str) -> ArgumentParser:
    examples = (f"manage.py saga {example}" for example in EXAMPLES[name])
    made: ArgumentParser = actions.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", **ending(*examples, exits=EXITS)
    )
    return made


@contextmanager
def _said(command: SagaCommand) -> Iterator[None]:
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
