"""The dashboards on a real Prometheus that watches the product under load: no panel is empty, no legend is blank."""

import json
import math
import re

import pytest

from monitoring.grafana.build import texts
from monitoring.grafana.queries import or_none, or_zero, or_zero_by_workflow, rate, share
from tests.support.dashboard_rules import expressions, panels
from tests.support.waiting import until

DASHBOARDS = {name.removesuffix(".json"): json.loads(text) for name, text in texts().items()}
INCIDENTS = "Incidents"
"""The mark that is missing while nothing is wrong."""
QUERIES = [
    (name, where, query)
    for name, each in DASHBOARDS.items()
    for where, query in expressions(each)
    if where != INCIDENTS
]
LABEL = re.compile(r"\{\{(\w+)\}\}")


def chosen(name):
    """What is chosen in the dashboard's variables: all that there is, where several can be."""
    return {"workflow": "commandes"} if name == "saga-workflow" else {}


def numbers(samples):
    return [sample for sample in samples if not math.isnan(sample["value"])]


@pytest.mark.parametrize(("name", "where", "query"), QUERIES, ids=lambda text: text if "(" not in text else "")
def test_every_expression_returns_data(prometheus, name, where, query):
    until(lambda: numbers(prometheus.evaluate(query, **chosen(name))), f"{where}: {query}")


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_label_in_a_legend_or_a_link_is_there(prometheus, name):
    for panel in panels(DASHBOARDS[name]):
        fields = set(re.findall(r"__data\.fields\.(\w+)", json.dumps(panel)))
        for target in panel["targets"]:
            wanted = set(LABEL.findall(target.get("legendFormat", ""))) | fields
            for sample in prometheus.evaluate(target["expr"], **chosen(name)):
                assert wanted <= set(sample["metric"]), (panel["title"], target["expr"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_has_values_to_choose_from(prometheus, name):
    for variable in DASHBOARDS[name]["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
            assert len(prometheus.evaluate(f"count by ({label}) ({metric})")) > 1


def test_every_alert_that_fires_is_marked(prometheus):
    (query,) = {query for each in DASHBOARDS.values() for where, query in expressions(each) if where == INCIDENTS}

    def same():
        firing = {alert["labels"]["alertname"] for alert in prometheus.alerts()}
        return firing == {sample["metric"]["alertname"] for sample in prometheus.evaluate(query)}

    until(same, "the marks are not the alerts")


def test_what_never_happened_is_a_zero_and_no_share_of_nothing_is_one(prometheus):
    never = 'workflow="never"'
    by_type, total = rate("saga_echecs_total", never, "type"), rate("saga_echecs_total", never)
    assert prometheus.evaluate(by_type) == prometheus.evaluate(share(total, total)) == []
    assert prometheus.evaluate(or_none(by_type, "type")) == [{"metric": {"type": "none"}, "value": 0}]
    assert prometheus.evaluate(or_zero(total)) == [{"metric": {}, "value": 0}]
    of_all = or_zero_by_workflow(rate("saga_total", never, "workflow"))
    assert {sample["value"] for sample in prometheus.evaluate(of_all)} == {0}
