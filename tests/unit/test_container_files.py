"""The container files without a container engine: what the real tools accept, and that the files agree."""

import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from application.saga_orchestrator import ANSWER_WITHIN, OVERHEAD
from devstack.kong_rules import faults
from domain.workflows import shipped_definitions
from infrastructure.span_queue import SECONDS_TO_END
from saga_service import gunicorn_conf

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
SCRIPTS = ("run_saga_tests.py", "load_cashout_fixture.py", "test_cashout_saga.py")
PUBLISHED = {"orchestrator": 8009, "kong": 8080, "grafana": 3000, "prometheus": 9090, "saga-db": 5439}


def run(tool, *arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    command = [TOOLS / tool, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=60, check=False
    )


def resolved_compose(**environment):
    done = run("docker-compose", "config", "--format", "json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


@pytest.fixture(scope="module")
def compose():
    """The compose file as Compose itself resolves it, with no variable set."""
    return resolved_compose()


@pytest.fixture(scope="module")
def kong():
    return load("kong/kong.yml")


def load(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def plugins_used(kong):
    places = [kong, *kong["services"], *itertools.chain.from_iterable(each["routes"] for each in kong["services"])]
    return {plugin["name"] for place in places for plugin in place.get("plugins", [])}


def test_compose_accepts_the_file():
    done = run("docker-compose", "config", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_hadolint_has_nothing_to_say_about_the_dockerfile():
    done = run("hadolint", "--no-color", "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_published_ports_are_the_documented_ones_on_this_machine_only(compose):
    published = {name: service["ports"] for name, service in compose.items() if "ports" in service}
    assert {name: [int(port["published"]) for port in ports] for name, ports in published.items()} == {
        name: [port] for name, port in PUBLISHED.items()
    }
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}


def test_the_kong_file_has_no_fault_and_names_only_services_of_the_stack(kong, compose):
    assert faults(kong, set(compose)) == []


def test_kong_is_the_pinned_version_and_loads_exactly_the_plugins_in_use(kong, compose):
    assert compose["kong"]["image"] == "kong:3.9.3"
    assert set(compose["kong"]["environment"]["KONG_PLUGINS"].split(",")) == plugins_used(kong)


def test_kong_waits_longer_than_a_start_takes_to_be_answered(kong):
    [orchestrator] = [service for service in kong["services"] if service["name"] == "saga"]
    assert orchestrator["read_timeout"] / 1000 >= ANSWER_WITHIN + 3


def test_kong_serves_the_file_that_is_mounted_and_no_admin_api(compose):
    environment, (volume,) = compose["kong"]["environment"], compose["kong"]["volumes"]
    assert environment["KONG_DECLARATIVE_CONFIG"] == volume["target"]
    assert Path(volume["source"]) == ROOT / "kong" / "kong.yml"
    assert (environment["KONG_DATABASE"], environment["KONG_ADMIN_LISTEN"]) == ("off", "off")


def test_the_orchestrator_reaches_its_participants_with_a_key_and_a_secret_that_kong_knows(kong, compose):
    environment = compose["orchestrator"]["environment"]
    owners = [
        {acl["group"] for acl in consumer["acls"]}
        for consumer in kong["consumers"]
        for credential in consumer["keyauth_credentials"]
        if credential["key"] == environment["KONG_API_KEY"]
    ]
    assert ["participants" in groups for groups in owners] == [True]
    assert f"X-Gateway-Secret:{environment['GATEWAY_SHARED_SECRET']}" in yaml.safe_dump(kong)
    assert environment["KONG_GATEWAY_URL"] == "http://kong:8080"
    assert compose["kong"]["environment"]["KONG_PROXY_LISTEN"].endswith(":8080")


def test_the_orchestrator_and_its_worker_are_configured_alike(compose):
    environments = [dict(compose[name]["environment"]) for name in ("orchestrator", "worker", "migrate")]
    for environment in environments:
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    assert environments[0] == environments[1] == environments[2]
    assert environments[0]["DEBUG"] == "True"
    assert resolved_compose(DEBUG="False")["worker"]["environment"]["DEBUG"] == "False"


def test_docker_waits_until_the_orchestrator_and_the_worker_have_ended_in_order(compose):
    longest_call = max(definition.longest_call() for definition in shipped_definitions())
    needed = {
        "orchestrator": gunicorn_conf.graceful_timeout + SECONDS_TO_END,
        "worker": longest_call + OVERHEAD + SECONDS_TO_END,
    }
    for service, seconds in needed.items():
        assert int(compose[service]["stop_grace_period"].removesuffix("s")) >= seconds


def test_the_metrics_directory_is_in_memory_and_so_empty_at_each_start(compose):
    orchestrator = compose["orchestrator"]
    assert orchestrator["tmpfs"] == [orchestrator["environment"]["PROMETHEUS_MULTIPROC_DIR"]]


def test_every_service_says_whether_it_is_healthy_and_waits_for_what_it_needs(compose):
    for name, service in compose.items():
        built = "build" in service and name == "orchestrator"  # the image's own HEALTHCHECK
        assert built or "healthcheck" in service, name
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed == "migrate" else "service_healthy"
            assert how["condition"] == expected, (name, needed)


def test_every_image_is_pinned_to_a_version(compose):
    images = [service["image"] for service in compose.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for image in images:
        assert re.search(r":v?\d", image), image


def test_postgres_18_keeps_its_data_where_the_volume_is(compose):
    assert compose["saga-db"]["image"] == "postgres:18"
    assert [volume["target"] for volume in compose["saga-db"]["volumes"]] == ["/var/lib/postgresql"]


def test_the_image_runs_as_nobody_in_particular_and_holds_what_production_needs_only():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER [1-9]\d*$", dockerfile, re.MULTILINE)
    assert "requirements.txt" in dockerfile
    assert "requirements-" not in dockerfile


def test_the_image_holds_every_package_that_it_runs():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"devstack", "tests"}
    assert packages <= kept


def test_prometheus_scrapes_services_of_the_stack_where_they_listen(compose):
    jobs = load("monitoring/prometheus/prometheus.yml")["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"][0].split(":") for job in jobs}
    assert {host for host, _ in targets.values()} <= set(compose)
    listeners = {
        "saga-orchestrator": (ROOT / "Dockerfile").read_text(encoding="utf-8"),
        "saga-worker": " ".join(compose["worker"]["command"]),
        "kong": compose["kong"]["environment"]["KONG_STATUS_LISTEN"],
        "postgres": " ".join(compose["postgres-exporter"]["healthcheck"]["test"]),
    }
    for job, (_, port) in targets.items():
        assert re.search(rf"\b{port}\b", listeners[job]), job
    assert next(job for job in jobs if job["job_name"] == "saga-orchestrator")["metrics_path"] == "/metrics/"


def test_grafana_finds_its_data_source_and_its_dashboards_and_opens_with_the_overview(compose):
    (source,) = load("monitoring/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert (
        source["jsonData"]["timeInterval"] == load("monitoring/prometheus/prometheus.yml")["global"]["scrape_interval"]
    )
    (provider,) = load("monitoring/grafana/provisioning/dashboards/saga.yml")["providers"]
    mounts = {volume["target"]: volume["source"] for volume in compose["grafana"]["volumes"]}
    inside = provider["options"]["path"]
    assert Path(mounts[inside]) == ROOT / "monitoring" / "grafana" / "dashboards"
    assert Path(mounts["/etc/grafana/provisioning"]) == ROOT / "monitoring" / "grafana" / "provisioning"
    home = Path(compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (Path(mounts[inside]) / home.relative_to(inside)).is_file()


def test_the_image_has_every_package_and_script_that_is_published():
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert {*packages["root_packages"], "manage.py", "scripts", *SCRIPTS} <= taken
