"""A real Prometheus over the stack of a test, with this project's own configuration and rules.

What is adapted: the targets' addresses, the scrape and evaluation intervals, and time itself, which passes `FASTER`
times as fast: every window, `for:` and threshold of age in the rules is divided by it, when they are loaded.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import yaml

from devstack.processes import Processes, answers, free_port
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for path in sorted((MONITORING / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS: dict[str, list[dict[str, Any]]] = {}
"""The recording rules by what they record; one that is of several windows has a rule for each."""
for _rule in RULES:
    if "record" in _rule:
        RECORDS.setdefault(_rule["record"], []).append(_rule)
FASTER = 60
INTERVAL = "1s"
PATIENT = {"postgres": "5s"}
"""A job whose target takes longer: the exporter tries three times before it says that nobody is there."""
SECONDS_TO_START = 20
PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-postgres-exporter": "prometheus-postgres-exporter",
}
"""Each program, and the Debian package that has it."""
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = r"(?:\d+(?:ms|[smhd]))+"
WINDOW = re.compile(rf"(?<=\[)(?P<window>{DURATION})(?=[\]:])|(?<=offset )(?P<offset>{DURATION})")
AGE = re.compile(r"(?P<what>\w*(?:oldest|seen)_seconds\b[^<>\n]*[<>]=?\s*)(?P<seconds>\d+)")
VARIABLES = {"__rate_interval": "10s", "__interval": "1s", "__range": "30s", "__range_s": "30", "__interval_ms": "1000"}
"""What Grafana puts in for these, at this speed."""


def program(name: str) -> str:
    """Where a program is; installed from Debian where it is missing and that is possible."""
    if shutil.which(name) is None:
        missing = {package for name, package in PROGRAMS.items() if shutil.which(name) is None}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *sorted(missing)]):
            subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq", *command],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                check=True,
                capture_output=True,
            )
    found = shutil.which(name)
    assert found, f"{name} is not on the path"
    return found


def seconds(duration: str) -> float:
    """Of a duration as Prometheus writes it: 1h30m is 5400."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhd])", duration))


def shortened(duration: str) -> str:
    return f"{max(1, round(seconds(duration) * 1000 / FASTER))}ms"


def hurried(expression: str) -> str:
    """The expression in a time that passes faster."""
    windows = WINDOW.sub(lambda found: shortened(found[0]), expression)
    return AGE.sub(lambda found: f"{found['what']}{int(found['seconds']) / FASTER:g}", windows)


def hurried_rules(rules: dict[str, Any]) -> dict[str, Any]:
    """A file of rules in a time that passes faster."""
    return {
        "groups": [
            {
                **{key: value for key, value in group.items() if key != "interval"},
                "rules": [
                    {**rule, "expr": hurried(rule["expr"])} | ({"for": shortened(rule["for"])} if "for" in rule else {})
                    for rule in group["rules"]
                ],
            }
            for group in rules["groups"]
        ]
    }


def configuration(targets: dict[str, str], rules: Path) -> dict[str, Any]:
    """The committed prometheus.yml for these targets: {its address there: the address here}."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL, "scrape_timeout": INTERVAL}
    config["rule_files"] = [str(rules / Path(pattern).name) for pattern in config.get("rule_files", [])]
    config.pop("alerting", None)
    for job in config["scrape_configs"]:
        if interval := PATIENT.get(job["job_name"]):
            job |= {"scrape_interval": interval, "scrape_timeout": interval}
        for each in job["static_configs"]:
            each["targets"] = [targets[address] for address in each["targets"]]
    return config


class Prometheus:
    """One running Prometheus."""

    def __init__(self, processes: Processes, directory: Path, targets: dict[str, str]) -> None:
        rules = directory / "rules"
        rules.mkdir(parents=True)
        for committed in (MONITORING / "rules").glob("*.yml"):
            hurried_text = yaml.safe_dump(hurried_rules(yaml.safe_load(committed.read_text())), sort_keys=False)
            (rules / committed.name).write_text(hurried_text)
        config = self._config = directory / "prometheus.yml"
        self._whole = configuration(targets, rules)
        config.write_text(yaml.safe_dump(self._whole))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [program("prometheus"), f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
        command += [f"--storage.tsdb.path={directory / 'data'}", "--log.level=warn", "--web.enable-lifecycle"]
        processes.start("prometheus", command, os.environ)
        processes.wait_until("prometheus", lambda: answers(f"{self.url}/-/ready"), SECONDS_TO_START)

    @contextlib.contextmanager
    def without(self, job: str) -> Iterator[None]:
        """A Prometheus that finds no target of this job, until the block ends."""
        jobs = [
            {**each, "static_configs": []} if each["job_name"] == job else each
            for each in self._whole["scrape_configs"]
        ]
        self._reload({**self._whole, "scrape_configs": jobs})
        yield
        self._reload(self._whole)

    def _reload(self, whole: dict[str, Any]) -> None:
        self._config.write_text(yaml.safe_dump(whole))
        requests.post(f"{self.url}/-/reload", timeout=10).raise_for_status()

    def evaluate(self, expression: str, **variables: str) -> list[dict[str, Any]]:
        """What an expression is now: each sample's `metric` (its labels) and `value`.

        Grafana's `$__rate_interval` and its like are put in, then the dashboard's own `$variables`; one that is not
        given stands for all of them.
        """
        answer = requests.get(f"{self.url}/api/v1/query", {"query": substituted(expression, variables)}, timeout=10)
        body = answer.json()
        assert body["status"] == "success", f"{expression}: {body['error']}"
        result = body["data"]["result"]
        if body["data"]["resultType"] in {"scalar", "string"}:
            return [{"metric": {}, "value": float(result[1])}]
        return [{"metric": each["metric"], "value": float(each["value"][1])} for each in result]

    def found(self, expression: str, **variables: str) -> list[dict[str, Any]]:
        """The same, as soon as there is any: a scrape may just have been late."""
        found: list[dict[str, Any]] = until(lambda: self.evaluate(expression, **variables), f"{expression} stays empty")
        return found

    def alerts(self, state: str = "firing") -> list[dict[str, Any]]:
        """The alerts in this state, each with its `labels` and `annotations`."""
        found = requests.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return [alert for alert in found if alert["state"] == state]


def substituted(expression: str, variables: dict[str, str]) -> str:
    """The expression with every `$name`, `${name}` and `${name:format}` put in."""
    known = VARIABLES | variables
    return re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", lambda found: known.get(found[1] or found[2], ".*"), expression)
