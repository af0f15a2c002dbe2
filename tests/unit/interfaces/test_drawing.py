"""A workflow drawn as SVG: whole, well-formed, in words as well, and with nothing that a browser refuses."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from domain.workflows.booking import DEFINITIONS as BOOKING
from domain.workflows.commandes import COMMANDES
from interfaces.console.drawing import state_svg, told
from interfaces.diagrams import changes, ends, way_forward
from tests.support.dialogue import step, workflow
from tests.unit.interfaces.test_diagrams import ALL

SVG = "{http://www.w3.org/2000/svg}"
LONG = workflow(
    step("a", running_state="A" * 60, done_state="A_LONG_NAME__IN_MANY_PARTS_THAT_ARE_SHORT_"),
    step("b", running_state="B", failed_state="NOT"),
    step("c", running_state="C", failed_state="NOT"),
    step("d", running_state="D"),
    step("e", running_state="E", failed_state="NOT_E"),
)


def drawn(definition, **way):
    return ET.fromstring(state_svg(definition, **way))


def states(svg, kind="state"):
    groups = [group for group in svg.iter(f"{SVG}g") if kind in group.get("class").split() and group.get("data-state")]
    return [group.get("data-state") for group in groups]


def edges(svg, kind="edge"):
    groups = [group for group in svg.iter(f"{SVG}g") if kind in group.get("class").split() and group.get("data-from")]
    return {(group.get("data-from"), group.get("data-to")) for group in groups}


@pytest.mark.parametrize("definition", [*ALL, LONG], ids=lambda definition: definition.name)
def test_every_state_is_drawn_once_with_every_change_and_its_name(definition):
    svg = drawn(definition)

    assert sorted(states(svg)) == sorted({word for change in changes(definition) for word in change})
    assert edges(svg) == definition.transitions()
    assert set(states(svg, "end")) == set(ends(definition))
    for group in svg.iter(f"{SVG}g"):
        if group.get("data-state"):
            assert "".join(group.find(f"{SVG}text").itertext()) == group.get("data-state")


@pytest.mark.parametrize("definition", [*ALL, LONG], ids=lambda definition: definition.name)
def test_no_state_covers_another_and_none_is_outside(definition):
    svg = drawn(definition)
    width, height = map(int, svg.get("viewBox").split()[2:])
    rects = _rects(svg)

    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in rects)
    for x in {rect[0] for rect in rects}:
        column = sorted((y, y + h) for left, y, _, h in rects if left == x)
        assert all(below[0] > above[1] for above, below in pairwise(column))


@pytest.mark.parametrize("definition", [*ALL, LONG], ids=lambda definition: definition.name)
def test_no_line_runs_through_a_state(definition):
    svg = drawn(definition)
    boxes = [(x + 1, y + 1, x + wide - 1, y + high - 1) for x, y, wide, high in _rects(svg)]

    for path in svg.iter(f"{SVG}path"):
        if path.get("class") == "line":
            for (x1, y1), (x2, y2) in pairwise(_points(path.get("d"))):
                left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
                assert not any(box[0] < right and left < box[2] and box[1] < bottom and top < box[3] for box in boxes)


def _rects(svg):
    outer = (rect for rect in svg.iter(f"{SVG}rect") if rect.get("class") is None)
    return [tuple(int(rect.get(name)) for name in ("x", "y", "width", "height")) for rect in outer]


def _points(path):
    points = []
    for letter, *numbers in re.findall(r"([MHV])(-?\d+)(?: (-?\d+))?", path):
        x, y = points[-1] if points else (0, 0)
        first = int(numbers[0])
        points.append({"M": (first, int(numbers[1] or 0)), "H": (first, y), "V": (x, first)}[letter])
    return points


def test_a_saga_s_way_is_marked_with_where_it_is_in_signs_and_words():
    way = way_forward(COMMANDES)[:4]
    svg = drawn(COMMANDES, passed=way[:-1], here=way[-1])

    assert states(svg, "passed") == way
    assert states(svg, "here") == way[-1:]
    assert edges(svg, "passed") == set(pairwise(way))
    signs = [text.text for text in svg.iter(f"{SVG}text") if text.get("class") == "sign"]
    assert signs == ["✓", "✓", "✓", "●"]
    assert f"Now at {way[-1]}." in svg.find(f"{SVG}desc").text
    assert " → ".join(way) in svg.find(f"{SVG}desc").text


def test_a_saga_that_is_where_its_way_ended_has_not_gone_on():
    way = way_forward(COMMANDES)

    assert edges(drawn(COMMANDES, passed=way, here=way[-1]), "passed") == set(pairwise(way))
    assert states(drawn(COMMANDES)) != []
    assert states(drawn(COMMANDES), "passed") == []


def test_what_is_drawn_is_named_and_told_in_words():
    definition = BOOKING[-1]
    svg = drawn(definition)

    named = svg.get("aria-labelledby").split()
    assert svg.get("role") == "img"
    assert [part.get("id") for part in svg if part.get("id")] == named
    assert all(word in told(definition) for change in changes(definition) for word in change)


@pytest.mark.parametrize("definition", [*ALL, LONG], ids=lambda definition: definition.name)
def test_nothing_in_it_is_a_style_a_script_or_from_elsewhere(definition):
    text = state_svg(definition, passed=way_forward(definition), here=definition.completed_state)

    assert not re.search(r"\sstyle=|<style|<script|\son\w+=|href|url\(", text)
