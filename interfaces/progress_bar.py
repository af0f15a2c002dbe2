"""How far a long command is: a bar where a person watches a terminal, a line now and then where nobody does."""

import sys
from time import monotonic
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from interfaces.plain_text import plain

LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


class ProgressBar:
    """`with ProgressBar("deleting", 1000, "sagas") as bar: bar.at(10)`. It writes to standard error unless told.

    Without a total it only counts. On a terminal the bar is gone when the block ends: the command says what it did.
    """

    def __init__(
        self, what: str, total: int | None, unit: str, stream: TextIO | None = None, every: float = LINE_EVERY
    ) -> None:
        self._what, self._total, self._unit = plain(what), total, plain(unit)
        self._stream, self._every = stream or sys.stderr, every
        self._done, self._note, self._told_at = 0, "", monotonic()
        self._drawn = self._bar() if self._stream.isatty() else None

    def __enter__(self) -> Self:
        """Draw the bar."""
        if self._drawn:
            self._task = self._drawn.add_task(self._what, total=self._total, count=self._count(), note="")
            self._drawn.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away again."""
        if self._drawn:
            self._drawn.stop()

    def at(self, done: int, note: str = "") -> None:
        """So many are done; `note` is what else there is to say now."""
        self._done, self._note = done, plain(note)
        if self._drawn:
            self._drawn.update(self._task, completed=done, count=self._count(), note=self._note)
        elif monotonic() - self._told_at >= self._every:
            self._told_at = monotonic()
            self.say(f"{self._what}: {self._count()}" + (f", {self._note}" if note else ""))

    def advance(self, note: str = "") -> None:
        """One more is done."""
        self.at(self._done + 1, note)

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        line = plain(line)
        if self._drawn:
            self._drawn.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def _count(self) -> str:
        of = "" if self._total is None else f" of {self._total:,}"
        return f"{self._done:,}{of} {self._unit}"

    def _bar(self) -> Progress:
        left = TimeElapsedColumn() if self._total is None else TimeRemainingColumn()
        said = [_text("{task.fields[count]}"), left, _text("{task.fields[note]}")]
        console = Console(file=self._stream)
        return Progress(_text("{task.description}"), BarColumn(), *said, console=console, transient=True)


def _text(shown: str) -> TextColumn:
    """Brackets in it are no markup."""
    return TextColumn(shown, markup=False)
