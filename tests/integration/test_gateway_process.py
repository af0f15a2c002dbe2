"""How the development gateway starts, refuses to start, ends, and what it costs."""

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from devstack.gateway_bench import measure
from tests.integration.gateway_process import KONG_FILE, ROOT, call, gateway_command, gateways, running_upstream


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    with running_upstream() as upstream, gateways(lambda: tmp_path_factory.mktemp("gateway"), upstream) as starter:
        yield starter


@pytest.fixture
def kong():
    return yaml.safe_load(KONG_FILE.read_text(encoding="utf-8"))


def test_the_status_listener_says_ready_and_serves_nothing_else(start):
    status = start().status
    assert call(status, "GET", "/status", key=None).status == 200
    assert call(status, "GET", "/status/ready", key=None).json == {"message": "ready"}
    assert call(status, "GET", "/api/inventaire/x").status == 404


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_it_leaves_nothing_behind(start, ending):
    running = start()
    assert Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text() == ""
    running.process.send_signal(ending)
    assert running.process.wait(timeout=10) == (-ending if ending == signal.SIGKILL else 0)
    host, port = running.listen.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kong: kong["plugins"].append({"name": "cors"}), "plugin cors"),
        (lambda kong: kong["services"][0].update(tags=["x"]), "unknown field `tags`"),
        (lambda kong: kong["services"][0].update(retries=5), "retries is 5"),
        (lambda kong: kong["plugins"][0]["config"]["access"].append("ngx.exit(200)"), "pre-function: only"),
        (lambda kong: kong["consumers"][0].update(username='a" ; }'), "a value holds a quote"),
        (lambda kong: kong["consumers"][0]["keyauth_credentials"][0].update(key="a,b"), "holds a comma"),
    ],
)
def test_it_does_not_start_on_what_it_does_not_implement(kong, tmp_path, change, message):
    change(kong)
    command, _, _ = gateway_command(tmp_path, kong, {})
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_resolution_for_a_host_that_no_service_has_is_refused(tmp_path):
    command, _, _ = gateway_command(tmp_path, None, {"inventiare:8000": "127.0.0.1:1"})
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, "no service has that host" in done.stderr) == (1, True)


def test_it_adds_less_than_half_a_millisecond():
    report = measure(KONG_FILE, rounds=3, requests=1000)
    assert float(re.search(r"added +([\d.-]+) ms", report)[1]) < 0.5
