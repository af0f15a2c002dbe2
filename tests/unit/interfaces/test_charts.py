"""Charts: what is drawn is as high as what it stands for, and what is missing is not drawn."""

import re
from xml.etree import ElementTree as ET

import pytest

from interfaces.console.charts import Series, chart
from tests.unit.interfaces.test_drawing import SVG


def drawn(*series, top=None):
    made = chart("told", series, ["hint <1>"] * len(series[0].values), str, top)
    return made, ET.fromstring(made.svg)


def test_bars_stand_on_each_other():
    made, svg = drawn(Series("a", "A", [1, 0], bars=True), Series("b", "B", [3, 2], bars=True))

    bars = [(rect.get("class"), float(rect.get("y")), float(rect.get("height"))) for rect in svg.iter(f"{SVG}rect")]
    assert bars[:3] == [("a", 96, 24), ("b", 24, 72), ("b", 72, 48)]
    assert (made.top, made.half) == ("5.0", "2.5")


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([1, 2], "M150 60L450 0"),
        ([None, 2, None], "M200 0H400"),
        ([1, None, 2, 1], "M0 60H150M375 0L525 60"),
        ([None, None], None),
    ],
)
def test_a_line_has_gaps_where_there_is_nothing(values, path):
    _, svg = drawn(Series("a", "A", values))

    assert next((p.get("d") for p in svg.iter(f"{SVG}path") if p.get("class") == "line a"), None) == path


@pytest.mark.parametrize(("most", "top"), [(0, 1), (0.003, 0.005), (1, 1), (3, 5), (7, 10), (1234, 2000), (None, 1)])
def test_the_top_is_a_number_that_people_say(most, top):
    made, _ = drawn(Series("a", "A", [most, None]))

    assert float(made.top) == pytest.approx(top)


def test_nothing_is_drawn_above_a_given_top_and_nothing_is_a_style():
    _, svg = drawn(Series("a", "A", [2, 0.5]), top=1.0)

    assert "M150 0L450 60" in {path.get("d") for path in svg.iter(f"{SVG}path")}
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "told")
    assert not re.search(r"style|script|href", ET.tostring(svg, "unicode"))
    assert [title.text for title in svg.iter(f"{SVG}title")] == ["hint <1>"] * 2
