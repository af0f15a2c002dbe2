import copy
from pathlib import Path

import pytest
import yaml

from devstack.gateway_conf import Gateway, nginx_conf
from devstack.kong_file import KongFileError, read
from devstack.kong_rules import faults, main
from devstack.nginx_text import quoted
from devstack.stack import PARTICIPANTS

ROOT = Path(__file__).resolve().parents[2]
KONG_FILE = ROOT / "kong" / "kong.yml"
SHIPPED = yaml.safe_load(KONG_FILE.read_text(encoding="utf-8"))
HOSTS = {*PARTICIPANTS, "orchestrator"}


@pytest.fixture
def kong():
    return copy.deepcopy(SHIPPED)


def service(kong, name):
    return next(service for service in kong["services"] if service["name"] == name)


def plugin(place, name):
    return next(plugin for plugin in place["plugins"] if plugin["name"] == name)


def the_fault(kong, hosts=HOSTS):
    found = faults(kong, hosts)
    assert len(found) == 1, found
    return found[0]


def test_the_shipped_configuration_has_no_fault():
    assert faults(SHIPPED, HOSTS) == []


@pytest.mark.parametrize("version", [3.0, "2.1", None])
def test_the_format_version_is_the_quoted_string(kong, version):
    kong["_format_version"] = version
    assert "_format_version" in the_fault(kong)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/api/catalogue", "matches '/api/cataloguexyz' too"),
        ("/api/catalogue(?:/|$)", "without ~"),
        ("~/api/catalogue", "segment boundary"),
        ("~/api/catalogue/.*", "segment boundary"),
        ("~/api/cata.ogue(?:/|$)", "segment boundary"),
        ("~(?:/|$)", "segment boundary"),
        ("/", "segment boundary"),
    ],
)
def test_a_path_that_matches_more_than_it_says_is_a_fault(kong, path, why):
    service(kong, "catalogue")["routes"][0]["paths"] = [path]
    assert "route catalogue" in the_fault(kong)
    assert why in the_fault(kong)


def test_a_plain_prefix_that_ends_in_a_slash_is_safe(kong):
    service(kong, "catalogue")["routes"][0]["paths"] = ["/api/catalogue/"]
    assert faults(kong, HOSTS) == []


def test_a_misspelt_host_is_a_fault_that_names_the_likely_one(kong):
    service(kong, "inventaire")["host"] = "inventiare"
    assert the_fault(kong) == "service inventaire: host 'inventiare' is nobody's name; did you mean 'inventaire'?"


def test_hosts_are_left_alone_where_nobody_says_which_there_are(kong):
    service(kong, "inventaire")["host"] = "elsewhere.example"
    assert faults(kong) == []


def test_url_together_with_host_is_a_fault(kong):
    service(kong, "saga")["url"] = "http://orchestrator:8009"
    assert "url together with host" in the_fault(kong)


def test_two_routes_on_one_path_are_a_fault(kong):
    service(kong, "inventaire")["routes"][0]["paths"] += ["~/api/catalogue(?:/|$)"]
    assert "more than one route (catalogue, inventaire)" in the_fault(kong)


@pytest.mark.parametrize("retries", [None, 1, 5])
def test_retries_other_than_none_are_a_fault(kong, retries):
    service(kong, "commandes")["retries"] = retries
    assert "service commandes: retries" in the_fault(kong)


@pytest.mark.parametrize("timeout", ["connect_timeout", "write_timeout", "read_timeout"])
def test_a_missing_timeout_is_a_fault(kong, timeout):
    del service(kong, "saga")[timeout]
    assert f"service saga: {timeout} is not set" in the_fault(kong)


def test_a_route_without_key_auth_is_a_fault(kong):
    kong["plugins"].remove(plugin(kong, "key-auth"))
    found = faults(kong, HOSTS)
    assert len(found) == sum(len(each["routes"]) for each in SHIPPED["services"])
    assert all("no key-auth" in fault for fault in found)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("hide_credentials", False), ("key_in_query", True), ("key_in_body", True), ("key_names", ["apikey"])],
)
def test_a_key_that_could_leak_or_be_read_elsewhere_is_a_fault(kong, setting, value):
    plugin(kong, "key-auth")["config"][setting] = value
    assert all(setting in fault for fault in faults(kong, HOSTS))
    assert faults(kong, HOSTS)


def test_a_route_without_acl_is_a_fault(kong):
    catalogue = service(kong, "catalogue")
    catalogue["plugins"].remove(plugin(catalogue, "acl"))
    assert "service catalogue, route catalogue: no acl" in the_fault(kong)


def test_a_group_that_nobody_has_is_a_fault(kong):
    plugin(service(kong, "catalogue"), "acl")["config"]["allow"] = ["participants", "shops"]
    assert "group 'shops' is granted to no consumer" in the_fault(kong)


def test_a_header_that_is_only_added_is_a_fault_that_does_not_show_its_value(kong):
    plugin(service(kong, "saga"), "request-transformer")["config"]["replace"]["headers"] = []
    assert "adds 'X-Gateway-Secret', which does not override" in the_fault(kong)
    assert "dev-gateway-secret" not in the_fault(kong)


def test_a_header_that_is_only_replaced_is_a_fault(kong):
    del plugin(service(kong, "saga"), "request-transformer")["config"]["add"]
    assert "add it too" in the_fault(kong)


@pytest.mark.parametrize("code", [[], ['kong.service.request.clear_header("X-Other")']])
def test_groups_that_a_client_could_claim_are_a_fault(kong, code):
    plugin(kong, "pre-function")["config"]["access"] = code
    assert "X-Consumer-Groups" in the_fault(kong)


def test_a_credential_without_an_id_is_a_fault(kong):
    del kong["consumers"][0]["keyauth_credentials"][0]["id"]
    assert "consumer magasin: a credential has no explicit id" in the_fault(kong)


def test_a_key_shared_by_two_consumers_is_a_fault_for_both_that_does_not_show_it(kong):
    kong["consumers"][1]["keyauth_credentials"][0]["key"] = "magasin-secret-key-2025"
    found = faults(kong, HOSTS)
    assert [fault.split(":")[0] for fault in found] == ["consumer magasin", "consumer lecteur"]
    assert "magasin-secret-key-2025" not in str(found)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda kong: kong.update(upstreams=[]), "the file"),
        (lambda kong: service(kong, "saga").update(read_timout=1), "service saga"),
        (lambda kong: service(kong, "saga")["routes"][1].update(strip_paht=True), "service saga, route saga-health"),
        (lambda kong: plugin(kong, "key-auth")["config"].update(hide=1), "global, plugin key-auth"),
        (lambda kong: plugin(kong, "prometheus").update(enabled=False), "global, plugin prometheus"),
        (lambda kong: kong["consumers"][0].update(tags=[]), "consumer magasin"),
    ],
)
def test_an_unknown_key_is_a_fault_wherever_it_stands(kong, change, where):
    change(kong)
    assert the_fault(kong).startswith(where)
    assert "unknown field" in the_fault(kong)


def test_an_unknown_plugin_is_a_fault(kong):
    service(kong, "saga")["plugins"].append({"name": "cors"})
    assert "plugin cors: this project does not implement" in the_fault(kong)


def test_every_unknown_key_is_named_not_only_the_first(kong):
    for each in kong["services"]:
        each["tagz"] = []
    assert len(faults(kong, HOSTS)) == len(kong["services"])


def test_a_plugin_that_stands_twice_in_one_place_is_a_fault(kong):
    kong["plugins"].append(copy.deepcopy(plugin(kong, "prometheus")))
    assert "plugin prometheus is there 2 times" in the_fault(kong)


def test_the_command_prints_the_faults_and_fails(kong, tmp_path, capsys):
    kong["services"][0]["retries"] = 5
    (tmp_path / "kong.yml").write_text(yaml.safe_dump(kong), encoding="utf-8")
    (tmp_path / "compose.yml").write_text(yaml.safe_dump({"services": dict.fromkeys(HOSTS)}), encoding="utf-8")
    assert main([str(tmp_path / "kong.yml"), str(tmp_path / "compose.yml")]) == 1
    assert "retries is 5" in capsys.readouterr().out
    assert main([str(KONG_FILE), str(tmp_path / "compose.yml")]) == 0


@pytest.mark.parametrize("value", ['a"b', "a\\b", "$host", "line\nbreak", "tab\t", "é", "\x00"])
def test_nothing_that_could_leave_an_nginx_string_is_written(value):
    with pytest.raises(KongFileError, match="quote, a backslash"):
        quoted(value)


def test_what_looks_like_nginx_configuration_stays_inside_its_string(kong, tmp_path):
    kong["consumers"][0]["username"] = "a; } server { listen 1; #"
    parsed, _ = read(kong)
    gateway = Gateway(listen="127.0.0.1:1", status_listen="127.0.0.1:2", run_dir=tmp_path, resolve={})
    lines = [line for line in nginx_conf(parsed, gateway).splitlines() if "listen 1;" in line]
    assert lines
    assert all(line.strip().endswith('"a; } server { listen 1; #";') for line in lines)
