"""Retention: deletes finished sagas that are older than they need to be, with their history."""

import re
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

from django.core.management.base import CommandError

from application.ports import Pruned
from application.retention import prune
from interfaces.platform import platform
from interfaces.progress_bar import ProgressBar
from interfaces.saga_command import SagaCommand

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
LARGEST_BATCH = 10_000
"""Sagas in one transaction: a second or so, after which others see it; more only makes it longer, not faster."""
INTERRUPTED = 130
"""Exit status of a run that was told to stop, as a shell gives it for Ctrl-C."""


class Command(SagaCommand):
    """`python manage.py saga_prune --older-than 90d`: safe to interrupt, to repeat, and to run twice at once."""

    help = (
        "Delete finished sagas (COMPLETED, COMPENSATED, FAILED) that finished longer ago than this, with their history "
        "and their published messages. Never deleted: live sagas, and those that still have a message to publish."
    )
    examples = (
        "saga_prune --older-than 90d",
        "saga_prune --older-than 12h --workflow cashout_flow --dry-run",
    )
    exits = "0 well, 1 refused or failed, 2 wrong usage, 130 stopped before the end (run it again for the rest)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument("--older-than", required=True, metavar="AGE", help="since their end: 90d, 12h or 30m")
        parser.add_argument("--workflow", metavar="NAME", help="only this workflow (default: all)")
        parser.add_argument("--batch", default="500", metavar="N", help="sagas a transaction (default 500)")
        parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, delete nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Delete, or say what would be deleted."""
        before = _before(options["older_than"], datetime.now(UTC))
        batch = _batch(options["batch"])
        workflows = _workflows(options["workflow"])
        if options["dry_run"]:
            self._tell(workflows, before)
        else:
            self._prune(workflows, before, batch)

    def _tell(self, workflows: list[str], before: datetime) -> None:
        found = [platform().retention.prunable(workflow, before) for workflow in workflows]
        for one in filter(None, found):
            self.stdout.write(f"{one.workflow}: {one.sagas} sagas, the oldest finished {_text(one.oldest)}")
        total = sum(one.sagas for one in found if one)
        self.stdout.write(f"would delete {total} sagas that finished before {_text(before)}")

    def _prune(self, workflows: list[str], before: datetime, batch: int) -> None:
        found = (
            [platform().retention.prunable(workflow, before) for workflow in workflows] if sys.stderr.isatty() else []
        )
        bar = ProgressBar("deleting", sum(one.sagas for one in found if one) if found else None, "sagas")
        totals = _Totals(bar)
        with bar, _stop_on_signals(totals):
            prune(platform().retention, workflows, before, batch, totals.add)
        for workflow, sagas in totals.by_workflow.items():
            self.stdout.write(f"{workflow}: {sagas} sagas")
        self.stdout.write(f"deleted {totals} that finished before {_text(before)}")
        if totals.stopped:
            self.stderr.write("stopped before the end; run it again for the rest")
            raise SystemExit(INTERRUPTED)


class _Totals:
    """What was deleted so far, told to a person who watches."""

    def __init__(self, bar: ProgressBar) -> None:
        self.by_workflow: dict[str, int] = {}
        self.stopped = False
        self._events = self._messages = 0
        self._bar = bar

    def __str__(self) -> str:
        return f"{sum(self.by_workflow.values())} sagas, {self._events} events and {self._messages} messages"

    def add(self, workflow: str, deleted: Pruned) -> bool:
        """Count a batch; whether to go on."""
        self.by_workflow[workflow] = self.by_workflow.get(workflow, 0) + deleted.sagas
        self._events += deleted.events
        self._messages += deleted.messages
        self._report(workflow, deleted)
        return not self.stopped

    def _report(self, workflow: str, deleted: Pruned) -> None:
        if deleted.until:
            self._bar.at(sum(self.by_workflow.values()), f"{workflow} up to {_text(deleted.until)}")


@contextmanager
def _stop_on_signals(totals: _Totals) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the batch that is under way."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        totals.stopped = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _before(age: str, now: datetime) -> datetime:
    """The time that is this age ago. Raises CommandError for what is not an age."""
    found = re.fullmatch(r"([0-9]{1,6})([dhm])", age, re.ASCII)
    wrong = f"--older-than {age!r}: must be a whole number of days, hours or minutes from 1, like 90d, 12h or 30m"
    if not found or int(found[1]) == 0:
        raise CommandError(wrong)
    try:
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError as error:
        raise CommandError(f"--older-than {age!r}: is before the year 1") from error


def _batch(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= LARGEST_BATCH:
        raise CommandError(f"--batch {text!r}: must be a number from 1 to {LARGEST_BATCH}")
    return int(text)


def _workflows(wanted: str | None) -> list[str]:
    known = platform().retention.workflows()
    if wanted is not None and wanted not in known:
        raise CommandError(f"--workflow {wanted!r}: there is {', '.join(known) or 'none yet'}")
    return known if wanted is None else [wanted]


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
