"""The rules as promtool reads them: each alert fires on its series and not on those of a day when all is well."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from infrastructure import metrics
from tests.monitoring.prometheus import ALERTS, MONITORING, RECORDS, ROOT, hurried, hurried_rules, program
from tests.support.dashboard_rules import summed

RULES = MONITORING / "rules"
STARTED = {'saga_total{workflow="w"}': "0+60x40"}
ANSWERS = 'saga_etapes_total{workflow="w",etape="s",statut="%s"}'
UNDOS = 'saga_compensations_total{workflow="w",etape="s",statut="%s"}'
CALLS = 'services_externes_calls_total{service="p",methode="POST",statut="%s"}'
SLOW = 'services_externes_duree_seconds_bucket{service="p",methode="POST",le="%s"}'
FAILED = 'saga_echecs_total{workflow="w",type="%s",etape="s"}'
REQUESTS = 'saga_http_requests_total{job="j",route="/api/sagas/start/",methode="POST",statut="%s"}'
GATEWAY = 'kong_http_requests_total{service="p",code="%s",source="%s"}'
CHECKPOINTS = 'saga_database_checkpoint_seconds_bucket{sync="on",le="%s"}'
DEBT = 'saga_undo_debt_current{workflow="w",service="p"}'
CONNECTIONS = 'saga_database_connections_current{etat="%s"}'
UP = 'up{job="saga-%s",instance="i"}'

# Each alert: the series on which it fires after forty minutes, and the most that it bears without. One sample a minute.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "SagasParked": (
        {'saga_statut_current{workflow="w",statut="STUCK"}': "1x40"},
        {
            'saga_statut_current{workflow="w",statut="RUNNING"}': "9x40",
            'saga_statut_current{workflow="w",statut="STUCK"}': "0x36 1x3",
        },
    ),
    "SagasParkedTooLong": (
        {'saga_parked_oldest_seconds{workflow="w"}': "0+60x40"},
        {'saga_parked_oldest_seconds{workflow="w"}': "0+45x40"},
    ),
    "UndoDebtGrowing": ({DEBT: "0+1x40"}, {DEBT: "19x40"}),
    "SagasNotTakenUp": ({"saga_overdue_oldest_seconds": "0x35 0+60x5"}, {"saga_overdue_oldest_seconds": "59x40"}),
    "SagaFailuresHigh": (
        {**STARTED, FAILED % "unavailable": "0+4x40"},
        {**STARTED, FAILED % "unavailable": "0+2x40", FAILED % "rejected": "0+40x40", FAILED % "parked": "0+40x40"},
    ),
    "SagaRefusalsHigh": (
        {**STARTED, FAILED % "rejected": "0+40x40"},
        {**STARTED, FAILED % "rejected": "0+29x40"},
    ),
    "StepAnswersMissing": (
        {ANSWERS % "succeeded": "0+10x40", ANSWERS % "unknown": "0+3x40"},
        {ANSWERS % "succeeded": "0+10x40", ANSWERS % "unknown": "0+2x40", ANSWERS % "rejected": "0+9x40"},
    ),
    "UndosFailing": (
        {UNDOS % "succeeded": "0+10x40", UNDOS % "rejected": "0+3x40"},
        {UNDOS % "succeeded": "0+10x40", UNDOS % "rejected": "0+2x40"},
    ),
    "WorkerGone": ({"saga_workers_current": "1x35 0x5"}, {"saga_workers_current": "1x39 0"}),
    "OutboxLag": ({"saga_outbox_oldest_seconds": "61x40"}, {"saga_outbox_oldest_seconds": "59x40"}),
    "MessagesPutAside": ({"saga_outbox_refused_current": "1x40"}, {"saga_outbox_refused_current": "0x36 1x3"}),
    "ApiErrors": (
        {REQUESTS % "201": "0+100x40", REQUESTS % "503": "0+2x40"},
        {REQUESTS % "201": "0+100x40", REQUESTS % "502": "0+50x40", REQUESTS % "409": "0+50x40"},
    ),
    "ParticipantNotCalled": (
        {
            'saga_participant_open{service="p",job="a"}': "0x40",
            'saga_participant_open{service="p",job="b"}': "0x30 1x10",
        },
        {'saga_participant_open{service="p"}': "0x38 1x1"},
    ),
    "ParticipantFailing": (
        {CALLS % "200": "0+9x40", CALLS % "502": "0+2x40"},
        {CALLS % "200": "0+20x40", CALLS % "500": "0+2x40", CALLS % "409": "0+9x40"},
    ),
    "ParticipantSlow": (
        {SLOW % "1": "0+9x40", SLOW % "2.5": "0+9x40", SLOW % "5": "0+10x40", SLOW % "+Inf": "0+10x40"},
        {SLOW % "1": "0x40", SLOW % "2.5": "0+10x40", SLOW % "5": "0+10x40", SLOW % "+Inf": "0+10x40"},
    ),
    "GatewayKeyRefused": ({CALLS % "401": "0+1x40"}, {CALLS % "404": "0+9x40", CALLS % "200": "0+9x40"}),
    "GatewayRefusesClients": (
        {GATEWAY % ("200", "service"): "0+9x40", GATEWAY % ("401", "kong"): "0+2x40"},
        {
            GATEWAY % ("200", "service"): "0+9x40",
            GATEWAY % ("401", "kong"): "0+1x40",
            GATEWAY % ("401", "service"): "0+9x40",
        },
    ),
    "GatewayErrors": (
        {GATEWAY % ("200", "service"): "0+9x40", GATEWAY % ("502", "kong"): "0+1x40"},
        {GATEWAY % ("200", "service"): "0+9x40", GATEWAY % ("500", "service"): "0+9x40"},
    ),
    "DatabaseNotRead": ({"saga_database_up": "1x35 0x5"}, {"saga_database_up": "1x39 0"}),
    "DatabaseConnectionsHigh": (
        {CONNECTIONS % "idle": "150x40", CONNECTIONS % "active": "22x40", "saga_database_connections_max": "200x40"},
        {CONNECTIONS % "idle": "148x40", CONNECTIONS % "active": "22x40", "saga_database_connections_max": "200x40"},
    ),
    "DatabaseSlow": (
        {CHECKPOINTS % "0.1": "0+90x40", CHECKPOINTS % "0.5": "0+100x40", CHECKPOINTS % "+Inf": "0+100x40"},
        {CHECKPOINTS % "0.1": "0+96x40", CHECKPOINTS % "0.5": "0+100x40", CHECKPOINTS % "+Inf": "0+100x40"},
    ),
    "PostgresDown": ({"pg_up": "1x35 0x5"}, {"pg_up": "1x40"}),
    "TargetDown": ({'up{job="j",instance="i"}': "1x35 0x5"}, {'up{job="j",instance="i"}': "1x38 0x1"}),
    "NoTarget": ({UP % "orchestrator": "1x40"}, {UP % "orchestrator": "0x40", UP % "worker": "1x40"}),
}

FIRST_FAILED = {'saga_total{workflow="w"}': "_x9 50x30", FAILED % "unavailable": "_x9 40x30"}
FEW = "0x3 1x3 2x3 3x3 4x3 5x3 6x3 7x3 8x3 9x3"
ONE_PARKED = {f'saga_statut_current{{workflow="w",statut="STUCK",instance="{each}"}}': "1x40" for each in "ab"}
POLLED = 'saga_http_requests_total{job="j",route="%s",methode="GET",statut="%s"}'
WATCHERS = {
    POLLED % (route, "200"): "0+1500x40"
    for route in ("/console/", "/api/saga/health/", "/health", "/metrics/", "/api/status/", "static", "unknown")
}

# What is easily overlooked, or easily taken for trouble: a sentence, its alert, the series, and whether it ever fires.
STORIES: dict[str, tuple[str, dict[str, str], bool]] = {
    "one saga that parks owes one undo, and that is no growth": ("UndoDebtGrowing", {DEBT: "0x9 1x30"}, False),
    "many undos that are owed at once by a workflow that never owed any": (
        "UndoDebtGrowing",
        {DEBT: "_x9 50x30"},
        True,
    ),
    "a few more than a quarter of an hour ago": ("UndoDebtGrowing", {DEBT: "3x9 9x30"}, True),
    "a few that are owed at once by a workflow that never owed any": (
        "UndoDebtGrowing",
        {DEBT: "_x19 9x20", 'saga_database_up{instance="a"}': "1x40"},
        True,
    ),
    "a Prometheus that is new here and sees a debt for the first time": ("UndoDebtGrowing", {DEBT: "9x40"}, False),
    "calls that all take between one second and two and a half": (
        "ParticipantSlow",
        {SLOW % "1": "0x40", SLOW % "2.5": "0+10x40", SLOW % "5": "0+10x40", SLOW % "+Inf": "0+10x40"},
        False,
    ),
    "a tenth of the API's requests fails while many watch the console": (
        "ApiErrors",
        {**WATCHERS, REQUESTS % "201": "0+108x40", REQUESTS % "500": "0+12x40"},
        True,
    ),
    "the console alone fails": (
        "ApiErrors",
        {REQUESTS % "201": "0+99x40", POLLED % ("/console/", "200"): "0+9x40", POLLED % ("/console/", "500"): "0+1x40"},
        True,
    ),
    "the first sagas of a workflow fail within one scrape": ("SagaFailuresHigh", FIRST_FAILED, True),
    "a Prometheus that is new here sees what failed long ago": (
        "SagaFailuresHigh",
        {UP % "orchestrator": "_x9 1x30"}
        | {name.replace("}", ',job="saga-orchestrator",instance="i"}'): each for name, each in FIRST_FAILED.items()},
        False,
    ),
    "every saga fails, and there is one in four minutes": (
        "SagaFailuresHigh",
        {'saga_total{workflow="w"}': FEW, FAILED % "unavailable": FEW},
        True,
    ),
    "every saga is refused, and there is one in four minutes": (
        "SagaRefusalsHigh",
        {'saga_total{workflow="w"}': FEW, FAILED % "rejected": FEW},
        True,
    ),
    "no call of a step is answered, and there is one in four minutes": (
        "StepAnswersMissing",
        {ANSWERS % "succeeded": "0x40", ANSWERS % "unknown": FEW},
        True,
    ),
    "every undo is refused, and there is one in four minutes": ("UndosFailing", {UNDOS % "rejected": FEW}, True),
    "a participant never answers, and is called once in four minutes": (
        "ParticipantFailing",
        {CALLS % "unavailable": FEW},
        True,
    ),
    "the gateway reaches nobody, and is asked once in four minutes": (
        "GatewayErrors",
        {GATEWAY % ("502", "kong"): FEW},
        True,
    ),
    "every client is refused, and there is one in four minutes": (
        "GatewayRefusesClients",
        {GATEWAY % ("401", "kong"): FEW},
        True,
    ),
    "half an hour with few failures of many sagas": (
        "SagaFailuresHigh",
        {'saga_total{workflow="w"}': "0+60x40", FAILED % "unavailable": FEW},
        False,
    ),
    "the first calls to a service are refused by the gateway, and no more are made": (
        "GatewayKeyRefused",
        {CALLS % "401": "_x9 3x30"},
        True,
    ),
    "no worker was ever found": ("NoTarget", {UP % "orchestrator": "1x40"}, True),
    "the orchestrator is found no more": ("NoTarget", {UP % "worker": "1x40", UP % "orchestrator": "1x9 stale"}, True),
}


def expectation(name: str, series: dict[str, str], expression: str, value: int) -> dict:
    """One promtool test: what an expression is on these series after forty minutes."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": "40m", "exp_samples": [{"labels": "{}", "value": value}]}
        ],
    }


def firing(alert: str) -> str:
    return f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'


def ever_fired(alert: str) -> str:
    return f'max(max_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[40m])) or vector(0)'


def promtool(*arguments: object) -> str:
    done = subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def promtool_test(tests: list[dict], directory: Path) -> None:
    whole = {"rule_files": [str(path) for path in RULES.glob("*.yml")], "evaluation_interval": "1m", "tests": tests}
    written = directory / "tests.yml"
    written.write_text(yaml.safe_dump(whole))
    promtool("test", "rules", written)


def test_the_configuration_and_the_rules_are_valid(tmp_path):
    promtool("check", "rules", *RULES.glob("*.yml"))
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert config["rule_files"] == ["/etc/prometheus/rules/*.yml"], "where docker-compose.yml mounts them"
    adapted = tmp_path / "prometheus.yml"
    adapted.write_text(yaml.safe_dump({**config, "rule_files": [str(RULES / "*.yml")]}))
    promtool("check", "config", adapted)


def test_each_alert_fires_on_its_series_and_bears_what_is_below(tmp_path):
    assert CASES.keys() == ALERTS.keys()
    tests = [
        expectation(f"{alert} {'fires' if fires else 'does not fire'}", series, firing(alert), fires)
        for alert, (fired, quiet) in CASES.items()
        for series, fires in ((fired, 1), (quiet, 0))
    ]
    promtool_test(tests, tmp_path)


@pytest.mark.parametrize("story", STORIES)
def test_an_alert_is_not_overlooked_and_not_false(story, tmp_path):
    alert, series, fires = STORIES[story]

    promtool_test([expectation(story, series, ever_fired(alert), int(fires))], tmp_path)


def test_a_saga_that_two_orchestrators_tell_of_is_one(tmp_path):
    expression = ALERTS["SagasParked"]["expr"]
    told = {"labels": '{workflow="w"}', "value": 1}
    test = expectation("one parked saga", ONE_PARKED, expression, 1)
    test["promql_expr_test"][0]["exp_samples"] = [told]

    promtool_test([test], tmp_path)


@pytest.mark.parametrize("name", [*ALERTS, *RECORDS])
def test_what_every_instance_tells_alike_is_not_summed_in_a_rule(name):
    expressions = [ALERTS[name]["expr"]] if name in ALERTS else [rule["expr"] for rule in RECORDS[name]]

    assert [each for expression in expressions for each in summed(expression)] == []


def test_every_recorded_series_is_asked_for_and_every_one_that_is_asked_for_is_recorded():
    expressions = [rule["expr"] for rules in RECORDS.values() for rule in rules]
    expressions += [rule["expr"] for rule in ALERTS.values()]
    asked = {name for expression in expressions for name in re.findall(r"\w+(?::\w+)+", expression)}

    assert asked == RECORDS.keys()


@pytest.mark.parametrize(
    ("alert", "histogram"), [("ParticipantSlow", metrics.CALL_DURATION), ("DatabaseSlow", metrics.CHECKPOINT_DURATION)]
)
def test_the_threshold_of_a_percentile_is_a_bound_of_its_histogram(alert, histogram):
    """Between two bounds a percentile is a guess."""
    threshold = float(ALERTS[alert]["expr"].rpartition("> ")[2])

    assert threshold in histogram._kwargs["buckets"]


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_how_bad_it_is_what_to_do_and_where_to_look(alert):
    rule = ALERTS[alert]
    says = rule["annotations"]

    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert says.keys() == {"summary", "action", "runbook_url", "console"}
    assert says["runbook_url"] == f"{{{{ $externalLabels.docs }}}}/alerts.md#{alert.lower()}"
    assert says["console"].startswith("{{ $externalLabels.console }}/console/")


def test_the_documentation_has_a_section_for_each_alert_and_for_no_other():
    page = (ROOT / "docs" / "alerts.md").read_text()

    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(ALERTS)
    for alert, rule in ALERTS.items():
        assert f"| [{alert}](#{alert.lower()}) | {rule['labels']['severity']} | {rule['for']} |" in page


def test_every_link_inside_the_documentation_of_alerts_leads_somewhere():
    page = ROOT / "docs" / "alerts.md"
    for path, anchor in re.findall(r"\]\(([\w./]*)#([\w-]+)\)", page.read_text()):
        target = (page.parent / path).read_text() if path else page.read_text()
        headings = re.findall(r"^#+ (.+)$", target, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, anchor


def test_time_passes_faster_in_every_window_threshold_of_age_and_wait():
    assert hurried("sum(rate(a_total[5m])) > 5") == "sum(rate(a_total[5000ms])) > 5"
    assert hurried("a > a offset 1h30m") == "a > a offset 90000ms"
    assert hurried("saga_overdue_oldest_seconds{a='b'} > 90") == "saga_overdue_oldest_seconds{a='b'} > 1.5"
    assert hurried("some_latency_seconds > 2") == "some_latency_seconds > 2"

    for path in RULES.glob("*.yml"):
        text = Path(path).read_text()
        faster = yaml.safe_dump(hurried_rules(yaml.safe_load(text)))
        assert not re.search(r"\[\d+[smh]\]|offset \d+[smh]\b|for: \d+[smh]\b", faster), path
