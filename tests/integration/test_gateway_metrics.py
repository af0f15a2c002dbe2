"""The development gateway counts what Kong's prometheus plugin counts, under the names of Kong 3.9."""

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.gateway_process import KONG_FILE, STRANGER, call, gateways, running_upstream

PLACE = {"service": "inventaire", "route": "inventaire", "workspace": "default"}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    with running_upstream() as upstream, gateways(lambda: tmp_path_factory.mktemp("gateway"), upstream) as starter:
        yield starter


@pytest.fixture(scope="module")
def gateway(start):
    return start()


def with_plugin(**config):
    kong = yaml.safe_load(KONG_FILE.read_text(encoding="utf-8"))
    plugins = [plugin for plugin in kong["plugins"] if plugin["name"] != "prometheus"]
    kong["plugins"] = [*plugins, {"name": "prometheus", "config": config}] if config else plugins
    return kong


def told(gateway):
    answer = call(gateway.status, "GET", "/metrics", key=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def sample(found, name, **labels):
    return found[name, frozenset(labels.items())]


def test_requests_are_counted_by_service_route_code_source_and_consumer(gateway):
    call(gateway.listen, "GET", "/api/inventaire/x")
    call(gateway.listen, "GET", "/api/inventaire/status/409")
    call(gateway.listen, "GET", "/api/inventaire/x", key=None)
    call(gateway.listen, "GET", "/api/inventaire/x", key=STRANGER)
    call(gateway.listen, "GET", "/api/commandes/x")
    call(gateway.listen, "GET", "/api/catalogue/x")
    call(gateway.listen, "GET", "/nowhere")

    counted = {
        (labels["service"], labels["code"], labels["source"], labels["consumer"]): value
        for labels, value in (
            (dict(labels), value)
            for (name, labels), value in told(gateway).items()
            if name == "kong_http_requests_total"
        )
    }
    assert counted == {
        ("inventaire", "200", "service", "magasin"): 1,
        ("inventaire", "409", "service", "magasin"): 1,
        ("inventaire", "401", "kong", ""): 1,
        ("inventaire", "403", "kong", "visiteur"): 1,
        ("commandes", "502", "kong", "magasin"): 1,
        ("catalogue", "503", "kong", "magasin"): 1,
    }


def test_latencies_are_histograms_that_add_up(start):
    gateway = start()
    for _ in range(3):
        call(gateway.listen, "GET", "/api/inventaire/x")
    call(gateway.listen, "GET", "/api/inventaire/x", key=None)

    found = told(gateway)
    for name, count in {"request": 4, "kong": 4, "upstream": 3}.items():
        buckets = [
            value
            for (each, labels), value in found.items()
            if each == f"kong_{name}_latency_ms_bucket" and PLACE.items() <= dict(labels).items()
        ]
        assert buckets == sorted(buckets)
        assert buckets[-1] == sample(found, f"kong_{name}_latency_ms_count", **PLACE) == count
        assert sample(found, f"kong_{name}_latency_ms_sum", **PLACE) >= 0


def test_nginx_tells_its_requests_and_connections(start):
    gateway = start()
    for _ in range(2):
        call(gateway.listen, "GET", "/nowhere")

    found, http = told(gateway), {"node_id": "development", "subsystem": "http"}
    assert sample(found, "kong_nginx_requests_total", **http) == 2
    states = {
        state: sample(found, "kong_nginx_connections_total", state=state, **http)
        for state in ("accepted", "handled", "total", "active")
    }
    assert states == {"accepted": 2, "handled": 2, "total": 2, "active": 0}
    assert sample(found, "kong_node_info", node_id="development", version="3.9.3") == 1


def test_only_what_the_plugin_is_told_to_measure_is_told(start):
    gateway = start(with_plugin(bandwidth_metrics=True))
    call(gateway.listen, "GET", "/api/inventaire/x")

    found = {name for name, _ in told(gateway) if not name.startswith(("kong_nginx", "kong_node", "kong_datastore"))}
    assert found == {"kong_bandwidth_bytes_total"}  # the parser adds the ending, Kong does not


def test_without_the_plugin_there_are_no_metrics(start):
    assert call(start(with_plugin()).status, "GET", "/metrics", key=None).status == 404
