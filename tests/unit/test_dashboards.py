"""Grafana's dashboards: the files are what the builder makes, and keep the rules; the rules find what breaks them."""

import copy
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from django.urls import resolve

from interfaces.console.sagas import FILTERS
from monitoring.grafana.build import texts
from tests.support.dashboard_rules import addresses, expressions, faults, metrics, panels
from tests.support.metrics_page import published

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.name: path for path in (ROOT / "monitoring" / "grafana" / "dashboards").iterdir()}
# What others tell: Prometheus itself, Kong, and PostgreSQL's exporter.
FOREIGN = {
    "ALERTS",
    "up",
    "scrape_duration_seconds",
    "kong_http_requests_total",
    "kong_kong_latency_ms_bucket",
    "kong_upstream_latency_ms_bucket",
    "kong_request_latency_ms_bucket",
    "kong_nginx_connections_total",
    "pg_stat_database_xact_commit",
    "pg_stat_database_xact_rollback",
    "pg_stat_database_blks_hit",
    "pg_stat_database_blks_read",
    "pg_stat_database_deadlocks",
}


def samples():
    """What the service tells: docs/monitoring.md lists its metrics, and a contract test holds that list."""
    names = set()
    for name, (_, kind) in published().items():
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def source():
    provisioned = ROOT / "monitoring" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    return yaml.safe_load(provisioned.read_text(encoding="utf-8"))["datasources"][0]["uid"]


def built(console="http://localhost:8009"):
    return {name: json.loads(text) for name, text in texts(console).items()}


def test_the_files_are_what_the_builder_makes_byte_for_byte():
    assert {name: path.read_text(encoding="utf-8") for name, path in FILES.items()} == texts(), "make dashboards"


def test_the_dashboards_keep_every_rule():
    assert faults(built(), samples() | FOREIGN, source()) == []


def test_the_dashboards_are_told_apart_and_found_together():
    dashboards = built().values()
    assert len({each["uid"] for each in dashboards}) == len({each["title"] for each in dashboards}) == 3
    assert all(each["refresh"] and each["time"]["to"] == "now" for each in dashboards)


def test_every_foreign_metric_is_asked_for():
    asked = {name for each in built().values() for _, expression in expressions(each) for name in metrics(expression)}
    assert asked >= FOREIGN


def test_deployments_and_incidents_are_marked_on_every_dashboard():
    for each in built().values():
        deployments, incidents = each["annotations"]["list"]
        assert metrics(deployments["target"]["expr"]) == {"saga_process_start_time_seconds", "saga_build_info"}
        assert deployments["useValueForTime"] == "on"
        assert metrics(incidents["target"]["expr"]) == {"ALERTS"}


@pytest.mark.parametrize("name", ["saga-overview", "saga-workflow"])
def test_a_workflow_with_nothing_live_can_be_chosen(name):
    (chosen,) = [each for each in built()[f"{name}.json"]["templating"]["list"] if each["name"] == "workflow"]
    assert chosen["query"]["query"] == "label_values(saga_total, workflow)", (
        "counters are kept, what lives comes and goes"
    )


def test_the_console_is_where_the_builder_is_told():
    for each in built("https://sagas.example.org/").values():
        (console,) = [variable for variable in each["templating"]["list"] if variable["name"] == "console"]
        assert (console["type"], console["query"]) == ("constant", "https://sagas.example.org")


def test_a_workflow_leads_to_its_page_and_its_dashboard():
    (table,) = [panel for panel in panels(built()["saga-overview.json"]) if panel["title"] == "Workflows"]
    (links,) = [
        value["value"]
        for override in table["fieldConfig"]["overrides"]
        for value in override["properties"]
        if override["matcher"]["options"] == "workflow"
    ]
    assert [link["url"] for link in links] == [
        "/d/saga-workflow?var-workflow=${__data.fields.workflow}&${__url_time_range}",
        "${console}/console/workflows/${__data.fields.workflow}/",
    ]


CONSOLE = sorted({url for each in built().values() for url in addresses(each) if url.startswith("${console}")})


@pytest.mark.parametrize("url", CONSOLE)
def test_every_link_to_the_console_is_a_page_of_it_with_a_filter_that_it_has(url):
    address = urlsplit(re.sub(r"\$\{[\w.]*workflow\}", "commandes", url.removeprefix("${console}/console")))

    assert resolve(address.path, "interfaces.console.urls").url_name in {"sagas", "trouble", "workflow"}
    assert parse_qs(address.query).keys() <= set(FILTERS)


def change(path, value):
    """A fault put into the overview: the place, and what is there instead."""

    def apply(dashboard):
        place = dashboard
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return apply


EXPRESSION = ("panels", 1, "targets", 0, "expr")
BROKEN = {
    "panel id 2 twice": change(("panels", 2, "id"), 2),
    "Live sagas: no description": change(("panels", 1, "description"), "Live sagas."),
    "Live sagas: no unit": change(("panels", 1, "fieldConfig", "defaults", "unit"), ""),
    "Live sagas: no text for no data": change(("panels", 1, "fieldConfig", "defaults", "noValue"), ""),
    "None: no title": change(("panels", 1, "title"), None),
    "Started a minute: overlaps": change(("panels", 2, "gridPos", "x"), 2),
    "Alerts firing: beyond the grid": change(("panels", 8, "gridPos", "w"), 4),
    "4 cells are empty": change(("panels", 1, "gridPos", "w"), 2),
    "Live sagas A: no metric saga_lives": change(EXPRESSION, "sum by (workflow) (saga_lives{a=~'$workflow'})"),
    "saga_actives_current is summed": change(EXPRESSION, 'sum(saga_actives_current{workflow=~"$workflow"})'),
    "$wrkflow is not defined": change(EXPRESSION, 'sum(rate(saga_total{workflow=~"$wrkflow"}[$__rate_interval]))'),
    "$region is not used": lambda dashboard: dashboard["templating"]["list"].append({"name": "region"}),
    "/d/saga: no such dashboard": change(("links", 1, "url"), "/d/saga"),
    "http://elsewhere/: neither": change(("links", 1, "url"), "http://elsewhere/"),
    "not every dashboard has ['other']": change(("links", 0, "tags"), ["other"]),
    "Live sagas: another data source": change(("panels", 1, "targets", 0, "datasource", "uid"), "other"),
    "Live sagas: thresholds out of order": change(
        ("panels", 1, "fieldConfig", "defaults", "thresholds", "steps"), [{"value": None}, {"value": 2}, {"value": 1}]
    ),
    "uid is not the file's name": change(("uid",), "saga"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_dashboard_is_found(fault):
    dashboards = copy.deepcopy(built())
    BROKEN[fault](dashboards["saga-overview.json"])
    found = faults(dashboards, samples() | FOREIGN, source())
    assert any(fault in each for each in found), found
