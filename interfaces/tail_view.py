"""How `manage.py saga tail` shows what happens: a line an event, JSON, or a table that moves on a terminal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, Self, TextIO
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from application.explanation import explain
from application.ports import Seen
from domain.entities import Saga
from domain.events import Action, EventType
from interfaces.plain_text import plain
from interfaces.privacy import mask_of, masked_events
from interfaces.wire import JSONRenderer

COLOURS = {
    "RUNNING": "cyan",
    "WAITING": "blue",
    "COMPENSATING": "yellow",
    "COMPLETED": "green",
    "COMPENSATED": "magenta",
    "FAILED": "magenta",
    "STUCK": "bold red",
    "PAUSED": "bold yellow",
}
OTHER_LINES = 5
"""Of the screen, that are not a saga's: the heading, the borders, and what is under the table."""
_WORDS = {
    EventType.ATTEMPT_SCHEDULED: "attempt {attempt}",
    EventType.ATTEMPT_FAILED: "attempt {attempt} {outcome}",
    EventType.ATTEMPT_POSTPONED: "put off",
    EventType.MESSAGE_PUBLISHED: "message sent",
    EventType.STEP_SUCCEEDED: "done",
    EventType.UNDO_SUCCEEDED: "undone",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_FAILED: "failed, {outcome}",
    EventType.INQUIRY_ANSWERED: "asked: {outcome}",
}


class View(Protocol):
    """Takes what is read, and shows it."""

    def __enter__(self) -> Any:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End; what was shown stays."""

    def events(self, rows: Sequence[dict[str, Any]]) -> None:
        """What happened, each with its saga's workflow."""

    def saga(self, seen: Seen, now: datetime) -> None:
        """How the one saga that is followed stands."""

    def say(self, text: str) -> None:
        """What there is to say about the looking itself."""


class Lines:
    """One line an event."""

    def __init__(self, stream: TextIO, errors: TextIO) -> None:
        self._stream, self._errors = stream, errors

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def events(self, rows: Sequence[dict[str, Any]]) -> None:
        """See `View`."""
        for row in masked_events(rows):
            self._stream.write(f"{event_line(row)}\n")
        self._stream.flush()

    def saga(self, seen: Seen, now: datetime) -> None:
        """See `View`: the explanation, once it rests."""
        if seen.saga.resting:
            self._stream.write(
                f"{_clock(now)} {seen.saga.id} {seen.saga.status}: {plain(mask_of(seen.saga)(explain(seen, now)))}\n"
            )

    def say(self, text: str) -> None:
        """See `View`: on standard error."""
        self._errors.write(f"{plain(text)}\n")
        self._errors.flush()


class JsonLines(Lines):
    """One JSON object an event, as the API gives it: for programs, so nothing is masked."""

    def events(self, rows: Sequence[dict[str, Any]]) -> None:
        """See `View`."""
        for row in rows:
            self._stream.write(JSONRenderer().render(row).decode() + "\n")
        self._stream.flush()

    def saga(self, seen: Seen, now: datetime) -> None:
        """Nothing: a program asks `saga show --json`."""


class Screen:
    """On a terminal: the sagas that moved last, each on a line."""

    def __init__(self, stream: TextIO, heading: str) -> None:
        self._console = Console(file=stream)
        self._heading = plain(heading)
        self._sagas: dict[UUID, Mapping[str, Any]] = {}
        self._count = 0
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        """Draw the heading."""
        self._live.start()
        self._live.update(self._all(), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture."""
        self._live.stop()

    def events(self, rows: Sequence[dict[str, Any]]) -> None:
        """See `View`. The saga that moved last is on top."""
        for row in masked_events(rows):
            self._sagas.pop(row["saga_id"], None)
            self._sagas[row["saga_id"]] = row
            self._count += 1
        for old in list(self._sagas)[: -max(1, self._console.height - OTHER_LINES)]:
            del self._sagas[old]
        self._live.update(self._all(), refresh=True)

    def saga(self, seen: Seen, now: datetime) -> None:
        """See `View`: one among all others has no picture of its own."""

    def say(self, text: str) -> None:
        """See `View`: above the table."""
        self._live.console.print(Text(plain(text)))

    def _all(self) -> RenderableType:
        table = _table("time", "saga", "workflow", "status", "event", "step", "reason")
        for row in reversed(self._sagas.values()):
            status = Text(row["status"], COLOURS[row["status"]])
            saga = [_clock(row["at"])[11:23], str(row["saga_id"]), row["workflow"]]
            table.add_row(*_cells(*saga), status, *_cells(row["type"], _place(row), _why(row)))
        return Group(table, Text(f"{self._heading}; {self._count} events; Ctrl-C ends", "dim"))


class OneSaga(Screen):
    """On a terminal: one saga, with its steps, its undos, its last events, and what it waits for."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, "reading")

    def events(self, rows: Sequence[dict[str, Any]]) -> None:
        """They are in the picture."""

    def saga(self, seen: Seen, now: datetime) -> None:
        """See `View`."""
        self._live.update(one_saga(seen, now, self._console.height), refresh=True)


def event_line(row: Mapping[str, Any]) -> str:
    """Time, saga, workflow, status and event, then what else is known as name=value; the reason is last."""
    known = {
        "step": _place(row),
        "action": row["action"],
        "attempt": row["attempt"],
        "outcome": row["outcome"],
        "http": row["http_status"],
        "ms": None if row["duration"] is None else f"{row['duration'] * 1000:.0f}",
        "due": row["due_at"] and _clock(row["due_at"]),
        "by": row["actor"] and plain(row["actor"]).replace(" ", "_"),
        "reason": row["reason"] and plain(row["reason"]),
    }
    more = "".join(f" {name}={value}" for name, value in known.items() if value not in {None, ""})
    return f"{_clock(row['at'])} {row['saga_id']} {row['workflow']} {row['status']} {row['type']}{more}"


def one_saga(seen: Seen, now: datetime, height: int) -> RenderableType:
    """Where it stands, why, each of its steps and undos, and the last of its events."""
    saga = seen.saga
    status = Text.assemble((saga.status.value, COLOURS[saga.status.value]), f" ({saga.state})")
    title = Text.assemble(f"{saga.id} {saga.definition.name} {saga.definition.version}  ", status)
    steps = _table("step", "do", "undo", "reason")
    for place, row in steps_of(saga).items():
        steps.add_row(*_cells(place, row.get("do", "-"), row.get("undo", ""), row.get("reason", "")))
    left = max(3, height - steps.row_count - 2 * OTHER_LINES)
    events = [f"{_clock(event.at)[11:23]} {event.type} {event.step or ''}" for event in saga.history[-left:]]
    return Group(title, Text(plain(mask_of(saga)(explain(seen, now)))), steps, Text("\n".join(events), "dim"))


def steps_of(saga: Saga) -> dict[str, dict[str, str]]:
    """Of each step, or item of one, in their order: how its do and its undo stand, and the last reason given."""
    known: dict[str, dict[str, str]] = {}
    mask = mask_of(saga)
    for event in saga.history:
        if event.step is None:
            continue
        place = event.step if event.item is None else f"{event.step}[{event.item}]"
        row = known.setdefault(place, {})
        word = _WORDS.get(event.type, event.type.value.replace("_", " "))
        row["undo" if event.action is Action.UNDO else "do"] = word.format(
            attempt=event.attempt, outcome=event.outcome or ""
        )
        if event.reason:
            row["reason"] = plain(mask(event.reason))
    begun = {place.partition("[")[0] for place in known}
    return known | {step.name: {} for step in saga.definition.steps if step.name not in begun}


def _table(*names: str) -> Table:
    table = Table(expand=True, box=None, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if name == "reason" else None)
    return table


def _cells(*texts: str) -> list[Text]:
    """What others wrote, as it is: brackets are no markup, and nothing is obeyed."""
    return [Text(plain(text)) for text in texts]


def _place(row: Mapping[str, Any]) -> str:
    return (row["step"] or "") if row["item"] is None else f"{row['step']}[{row['item']}]"


def _why(row: Mapping[str, Any]) -> str:
    said = [row["outcome"] or "", row["reason"]]
    return ": ".join(part for part in said if part)


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
