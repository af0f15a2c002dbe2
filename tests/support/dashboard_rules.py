"""What a dashboard must keep, as faults in words: read from the JSON alone, so that it holds for any builder."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

Dashboard = Mapping[str, Any]

GRID = 24
LANGUAGE = {"and", "bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "or", "unless", "without"}
BUILT_IN = re.compile(r"__\w+")
LIVE = re.compile(r"saga_\w+_(?:current|oldest_seconds)|saga_worker_seen_seconds")


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    """Where and what is asked, marks included."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for mark in dashboard["annotations"]["list"]:
        yield mark["name"], mark["target"]["expr"]


def metrics(expression: str) -> set[str]:
    """The names of the metrics that it asks for."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on|without|ignoring|group_left|group_right) \([^)]*\)", "", bare)
    return set(re.findall(r"\b[a-zA-Z_]\w*\b(?! *\()", bare)) - LANGUAGE


def faults(dashboards: Mapping[str, Dashboard], known: set[str], source: str) -> list[str]:
    """Everything that is wrong, as `file: what`; `known` are the metrics that there are."""
    found = [f"{name}: {fault}" for name, each in dashboards.items() for fault in _own(each, known, source)]
    uids = {each["uid"] for each in dashboards.values()}
    tags = set.intersection(*(set(each["tags"]) for each in dashboards.values()))
    found += [f"{name}: {fault}" for name, each in dashboards.items() for fault in _links(each, uids, tags)]
    found += [
        f"{name}: uid is not the file's name" for name, each in dashboards.items() if f"{each['uid']}.json" != name
    ]
    return found


def _own(dashboard: Dashboard, known: set[str], source: str) -> Iterator[str]:
    yield from _numbers(dashboard)
    yield from _places(dashboard)
    for panel in panels(dashboard):
        yield from (f"{panel.get('title')}: {fault}" for fault in _panel(panel, source))
    for where, expression in expressions(dashboard):
        yield from (f"{where}: no metric {name}" for name in sorted(metrics(expression) - known))
        yield from (f"{where}: {name} is summed over instances" for name in summed(expression))
    yield from _variables(dashboard)


def _numbers(dashboard: Dashboard) -> Iterator[str]:
    ids = [panel["id"] for panel in dashboard["panels"]]
    yield from (f"panel id {number} twice" for number in sorted(set(ids)) if ids.count(number) > 1)


def _panel(panel: Mapping[str, Any], source: str) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    if not panel.get("title"):
        yield "no title"
    if panel.get("description", "").count(".") < 2:
        yield "no description that says what it means and what to do"
    if not defaults.get("unit"):
        yield "no unit"
    if not defaults.get("noValue"):
        yield "no text for no data"
    steps = [step["value"] for step in defaults.get("thresholds", {}).get("steps", [])][1:]
    if steps != sorted(steps):
        yield "thresholds out of order"
    if any(each["datasource"]["uid"] != source for each in (panel, *panel["targets"])):
        yield "another data source"


def _places(dashboard: Dashboard) -> Iterator[str]:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        area = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        if area & taken:
            yield f"{panel['title']}: overlaps"
        if at["x"] + at["w"] > GRID:
            yield f"{panel['title']}: beyond the grid"
        taken |= area
    bottom = max(y for _, y in taken) + 1
    if len(taken) < GRID * bottom:
        yield f"{GRID * bottom - len(taken)} cells are empty"


def summed(expression: str) -> Iterator[str]:
    """What the database tells, each instance tells alike: only the greatest or the least of them is a number."""
    for name in sorted(filter(LIVE.fullmatch, metrics(expression))):
        told_once = rf"\b(?:max|min)(?: by \([^)]*\) )? ?\({name}\b"
        if len(re.findall(rf"\b{name}\b", expression)) != len(re.findall(told_once, expression)):
            yield name


def _variables(dashboard: Dashboard) -> Iterator[str]:
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    texts = list(_texts({key: value for key, value in dashboard.items() if key != "templating"}))
    used = {name for text in texts for name in re.findall(r"\$\{?(\w+)", text)}
    yield from (f"${name} is not defined" for name in sorted(used - defined) if not BUILT_IN.fullmatch(name))
    yield from (f"${name} is not used" for name in sorted(defined - used))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def addresses(value: Any) -> Iterator[str]:
    """Every address that a link goes to."""
    if isinstance(value, Mapping):
        yield from (text for key, text in value.items() if key == "url")
    if isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from addresses(each)


def _links(dashboard: Dashboard, uids: set[str], tags: set[str]) -> Iterator[str]:
    for link in dashboard["links"]:
        if link["type"] == "dashboards" and not set(link["tags"]) <= tags:
            yield f"{link['title']}: not every dashboard has {link['tags']}"
    for url in addresses(dashboard):
        path = urlsplit(url).path
        if path.startswith("/d/") and path.removeprefix("/d/") not in uids:
            yield f"{url}: no such dashboard"
        elif not path.startswith("/d/") and not url.startswith("${console}/console/"):
            yield f"{url}: neither a dashboard nor the console"
