"""A workflow's states as SVG: the way forward down the left, the ways out of it down the right, and one saga's path.

It is narrow enough for a phone; every line runs between the columns or beside them, never through a state. What
colours say is said in signs as well, and all of it in words for who does not see it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from domain.definition import SagaDefinition
from interfaces.diagrams import changes, ends, way_forward

_WIDTH, _BOX, _LINE, _PAD, _GAP, _TOP = 352, 136, 16, 7, 20, 30
_LEFT, _RIGHT = 20, 192
"""Where the columns begin; lines that join more than neighbours run between and behind them. The way forward enters no
state twice and nothing leads back to it (domain/definition_faults.py), so there are none before it."""
_LETTERS = 15
"""Of a state's name in one line."""
_LANE, _LANES = 6, 4
"""What is between two lines side by side, and how many there is room for."""
_HEAD = 5

Edge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Box:
    """A state where it is drawn: `row` counts from the top."""

    word: str
    lines: tuple[str, ...]
    row: int
    x: int
    y: int
    height: int

    @property
    def middle(self) -> int:
        """Where lines to its sides end."""
        return self.y + self.height // 2


def state_svg(definition: SagaDefinition, passed: Sequence[str] = (), here: str | None = None) -> SafeString:
    """The states of a workflow; of one saga, those that it `passed`, in order, and where it is `here`, are marked."""
    boxes, edges = _laid_out(definition), changes(definition)
    way = [*passed, *([here] if here and list(passed[-1:]) != [here] else [])]
    taken = set(pairwise(way))
    over = sorted(edges, key=lambda edge: edge in taken)  # what was taken is drawn over the others
    name = f"states-{definition.name}-{definition.version}"
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" class="states" viewBox="0 0 {} {}" role="img"'
        ' aria-labelledby="{name}-title {name}-told">'
        '<title id="{name}-title">{}</title><desc id="{name}-told">{}</desc>{}{}{}</svg>',
        _WIDTH,
        max(box.y + box.height for box in boxes.values()) + _PAD,
        _("States of %(workflow)s") % {"workflow": f"{definition.name} {definition.version}"},
        told(definition, way, here),
        _beginning(boxes[definition.initial_state]),
        format_html_join("", "{}", ((_line(boxes, edges, edge, taken=edge in taken),) for edge in over)),
        format_html_join("", "{}", ((_state(box, definition, set(way), here),) for box in boxes.values())),
        name=name,
    )


def told(definition: SagaDefinition, way: Sequence[str] = (), here: str | None = None) -> str:
    """What the drawing shows, in words."""
    forward = way_forward(definition)
    out = [f"{start} → {end}" for start, end in changes(definition) if (start, end) not in set(pairwise(forward))]
    words = [_("The way forward: %(states)s.") % {"states": " → ".join(forward)}]
    words += [_("Ways out: %(changes)s.") % {"changes": ", ".join(out)}] if out else []
    words += [_("Taken: %(states)s.") % {"states": " → ".join(way)}] if way else []
    words += [_("Now at %(state)s.") % {"state": here}] if here else []
    return " ".join(words)


# --- where everything is ----------------------------------------------------------------------------------------------


def _laid_out(definition: SagaDefinition) -> dict[str, Box]:
    """Each state's box: a way out stands beside the state that it leaves, the undo and the ends at the bottom."""
    forward = way_forward(definition)
    rows = {word: row for row, word in enumerate(forward)}
    last = -1
    for word in _ways_out(definition, forward):
        beside = [rows[start] for start, end in changes(definition) if end == word and start in forward]
        rows[word] = last = max([last + 1, *(beside if word == definition.compensating_state else beside[:1])])
    heights = {word: len(_lines(word)) * _LINE + 2 * _PAD for word in rows}
    tops, y = [], _TOP
    for row in range(max(rows.values()) + 1):
        tops.append((y, high := max(heights[word] for word in rows if rows[word] == row)))
        y += high + _GAP
    return {
        word: Box(
            word=word,
            lines=_lines(word),
            row=row,
            x=_LEFT if word in forward else _RIGHT,
            y=tops[row][0] + (tops[row][1] - heights[word]) // 2,
            height=heights[word],
        )
        for word, row in rows.items()
    }


def _ways_out(definition: SagaDefinition, forward: Sequence[str]) -> list[str]:
    """The states beside the way forward, in the order in which they are reached; the undo and the ends last."""
    found = dict.fromkeys(end for _start, end in changes(definition) if end not in forward)
    bottom = [word for word in (definition.compensating_state, *ends(definition)) if word in found]
    return [word for word in found if word not in bottom] + bottom


def _lines(word: str) -> tuple[str, ...]:
    """A name in lines that fit into a box, cut after `_` where there is any."""
    lines = [""]
    for part in re.findall(rf"[^_]{{1,{_LETTERS}}}_?|_", word):
        if len(lines[-1] + part.rstrip("_")) > _LETTERS:
            lines.append("")
        lines[-1] += part
    return tuple(lines)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def _beginning(box: Box) -> SafeString:
    middle = box.x + _BOX // 2
    return format_html(
        '<g class="edge"><circle cx="{x}" cy="8" r="5"/><path class="line" d="M{x} 8V{y}"/>{}</g>',
        _head(middle, box.y, "down"),
        x=middle,
        y=box.y - _HEAD,
    )


def _state(box: Box, definition: SagaDefinition, passed: set[str], here: str | None) -> SafeString:
    """A box with its name; an end has a second border, and a saga's states have a sign."""
    kinds = {"forward": box.x == _LEFT, "end": box.word in ends(definition), "passed": box.word in passed}
    kinds["here"] = box.word == here
    inner = format_html(
        '<rect class="inner" x="{}" y="{}" width="{}" height="{}" rx="4"/>',
        box.x + 3,
        box.y + 3,
        _BOX - 6,
        box.height - 6,
    )
    sign = "●" if kinds["here"] else "✓" if kinds["passed"] else ""
    first = box.middle - (len(box.lines) - 1) * _LINE // 2 + 4
    return format_html(
        '<g class="state{}" data-state="{}"><rect x="{}" y="{}" width="{}" height="{}" rx="6"/>{}<text>{}</text>{}</g>',
        "".join(f" {kind}" for kind, is_one in kinds.items() if is_one),
        box.word,
        box.x,
        box.y,
        _BOX,
        box.height,
        inner if kinds["end"] else "",
        format_html_join(
            "",
            '<tspan x="{}" y="{}">{}</tspan>',
            ((box.x + _BOX // 2, first + number * _LINE, line) for number, line in enumerate(box.lines)),
        ),
        format_html('<text class="sign" x="{}" y="{}">{}</text>', box.x + 3, box.y + 1, sign) if sign else "",
    )


def _line(boxes: dict[str, Box], edges: Iterable[Edge], edge: Edge, *, taken: bool) -> SafeString:
    """A line with its head: straight to a neighbour, otherwise in a lane that leads to this state alone."""
    start, end = (boxes[word] for word in edge)
    middle, side = start.x + _BOX // 2, start.x + _BOX
    if _straight(boxes, edge):
        path, head = f"M{middle} {start.y + start.height}V{end.y - _HEAD}", (middle, end.y, "down")
    elif start.x != end.x:
        lane = _RIGHT - 12 - _LANE * _lane(boxes, edges, edge)
        path, head = f"M{side} {start.middle}H{lane}V{end.middle}H{end.x - _HEAD}", (end.x, end.middle, "right")
    else:
        lane = side + 10 + _LANE * (_lane(boxes, edges, edge) % 3)
        path, head = f"M{side} {start.middle}H{lane}V{end.middle}H{side + _HEAD}", (side, end.middle, "left")
    return format_html(
        '<g class="edge{}" data-from="{}" data-to="{}"><path class="line" d="{}"/>{}</g>',
        " passed" if taken else "",
        *edge,
        path,
        _head(*head),
    )


def _straight(boxes: dict[str, Box], edge: Edge) -> bool:
    """Whether it leads down its own column, with no state between."""
    start, end = (boxes[word] for word in edge)
    between = (box for box in boxes.values() if box.x == start.x == end.x and start.row < box.row < end.row)
    return start.x == end.x and start.row < end.row and not any(between)


def _lane(boxes: dict[str, Box], edges: Iterable[Edge], edge: Edge) -> int:
    """Which of the lanes between the same columns leads to where this one leads."""
    columns = [boxes[word].x for word in edge]
    alike = (each for each in edges if [boxes[word].x for word in each] == columns and not _straight(boxes, each))
    return list(dict.fromkeys(end for _start, end in alike)).index(edge[1]) % _LANES


def _head(x: int, y: int, towards: str) -> SafeString:
    """An arrow's head whose tip is here."""
    back = {"down": "l-4 -7h8z", "right": "l-7 -4v8z", "left": "l7 -4v8z"}[towards]
    return format_html('<path class="head" d="M{} {}{}"/>', x, y, back)
