"""The table of metrics in docs/monitoring.md, which the tests hold the product to."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
ROW = re.compile(r"^\| `(?P<name>\w+)(?:\{(?P<labels>[\w,]+)\})?` \| (?P<kind>\w+) \|", re.MULTILINE)


def published() -> dict[str, tuple[frozenset[str], str]]:
    """Each metric's labels and kind, by its name."""
    rows = ROW.finditer(PAGE.read_text())
    return {row["name"]: (frozenset((row["labels"] or "").split(",")) - {""}, row["kind"]) for row in rows}
