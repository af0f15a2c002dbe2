"""The rules on a real Prometheus that watches the product under load: each has what it asks for.

What an alert compares is there also while it is quiet, so an alert that is silent is one that has looked.
"""

import math
import re

import pytest

from tests.monitoring.prometheus import ALERTS, RECORDS, hurried
from tests.support.waiting import until

THRESHOLD = re.compile(r" *(?:==|[<>]=?) *[\d.]+")
ABSENT = re.compile(r"absent\((up\{[^}]*\})\)")
SPARSE = "30m"
"""The window that is told only where the shorter one has too little to judge by."""


def numbers(samples):
    return [sample for sample in samples if not math.isnan(sample["value"])]


def parts(expression):
    """What an alert compares, without what it is compared with; of what may not be absent, that itself."""
    whole = THRESHOLD.sub("", ABSENT.sub(r"\1", expression))
    inside = re.fullmatch(r"max by \([\w, ]+\) \((.*) and (.*)\)", whole, re.DOTALL)
    return [hurried(each) for each in (whole, *(inside.groups() if inside else re.split(r"\n?\bor ", whole)))]


RECORDED = [(name, rule) for name, rules in RECORDS.items() for rule in rules]


@pytest.mark.parametrize(
    ("name", "rule"), RECORDED, ids=[f"{n} {r.get('labels', {}).get('window', '')}" for n, r in RECORDED]
)
def test_every_recording_rule_records(prometheus, name, rule):
    expression = hurried(rule["expr"])
    if rule.get("labels", {}).get("window") == SPARSE:
        expression = expression.partition("\nunless on")[0]

    until(lambda: numbers(prometheus.evaluate(expression)), f"{name}: {expression}")
    until(lambda: numbers(prometheus.evaluate(name)), f"{name} is not recorded")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_what_it_compares(prometheus, alert):
    for part in parts(ALERTS[alert]["expr"]):
        until(lambda part=part: numbers(prometheus.evaluate(part)), f"{alert}: {part}")


def test_the_parts_of_an_alert_are_what_it_compares():
    assert parts("max(a_seconds) > 60") == ["max(a_seconds)"] * 2
    assert parts("max by (w) (w:a:ratio > 0.05 and w:a:increase > 2)")[1:] == ["w:a:ratio", "w:a:increase"]
    assert parts('absent(up{job="a"}) or absent(up{job="b"})')[1:] == ['up{job="a"} ', 'up{job="b"}']
