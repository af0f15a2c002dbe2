"""Charts as SVG: bars that stand on each other, and lines, over spans of time. What they show is told beside them too.

Words and numbers are outside of the drawing, which stretches to the room that it has; colours are classes of the page.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_WIDTH, _HEIGHT = 600, 120


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn in one colour; a value is None where there is none. `name` is a class of the page."""

    name: str
    label: str
    values: Sequence[float | None]
    bars: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with what belongs beside it: what is drawn, and the value at its top."""

    svg: SafeString
    top: str
    half: str
    series: Sequence[Series]


def chart(
    told: str,
    series: Sequence[Series],
    hints: Sequence[str],
    written: Callable[[float], str],
    top: float | None = None,
) -> Chart:
    """The series over the same spans, as high as `top`, or as they are. A span says its hint under the pointer."""
    width = _WIDTH / max(len(hints), 1)
    stacked = [sum(filter(None, values)) for values in zip(*(each.values for each in series if each.bars), strict=True)]
    lines = [value for each in series if not each.bars for value in each.values if value is not None]
    top = top or _round_up(max([*stacked, *lines, 0]))
    svg = format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none"'
        ' role="img" aria-label="{}">{}{}{}{}</svg>',
        _WIDTH,
        _HEIGHT,
        told,
        format_html('<path class="grid" d="M0 0.5H{w}M0 {}H{w}M0 {}H{w}"/>', _HEIGHT / 2, _HEIGHT - 0.5, w=_WIDTH),
        _bars([each for each in series if each.bars], top, width),
        format_html_join("", "{}", ((_line(each, top, width),) for each in series if not each.bars)),
        format_html_join(
            "",
            '<rect class="hint" x="{}" y="0" width="{}" height="{}"><title>{}</title></rect>',
            ((_short(place * width), _short(width), _HEIGHT, hint) for place, hint in enumerate(hints)),
        ),
    )
    return Chart(svg, written(top), written(top / 2), series)


def _bars(series: Sequence[Series], top: float, width: float) -> SafeString:
    """Each span's values on each other, the first at the bottom."""
    rects = []
    for place, values in enumerate(zip(*(each.values for each in series), strict=True)):
        base = float(_HEIGHT)
        for each, value in zip(series, values, strict=True):
            if value:
                base -= value / top * _HEIGHT
                size = (place * width + width * 0.1, base, width * 0.8, value / top * _HEIGHT)
                rects.append((each.name, *map(_short, size)))
    return format_html_join("", '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>', rects)


def _line(series: Series, top: float, width: float) -> SafeString:
    """From the middle of each span to that of the next; where a value is missing the line has a gap.

    A value between two gaps is a line as wide as its span.
    """
    path = ""
    missing = [value is None for value in (None, *series.values, None)]
    for place, value in enumerate(series.values):
        if value is None:
            continue
        x, y = (place + 0.5) * width, _HEIGHT - min(value / top, 1) * _HEIGHT
        if missing[place] and missing[place + 2]:
            path += f"M{_short(x - width / 2)} {_short(y)}H{_short(x + width / 2)}"
        else:
            path += f"{'M' if missing[place] else 'L'}{_short(x)} {_short(y)}"
    return format_html('<path class="line {}" d="{}"/>', series.name, path) if path else SafeString("")


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 ..., so that half of it is a number that people say."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 5, 10) if value <= step * unit * (1 + 1e-9))


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
