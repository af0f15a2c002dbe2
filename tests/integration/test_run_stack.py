"""`make run` as a real process on ports and data of its own: it serves, it ends, and nothing of it is left."""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import requests

import devstack.run
from devstack.bench_load import ORDER, PATH
from devstack.processes import free_port
from devstack.stack import ROOT, Ports, variable
from domain.exceptions import DefinitionInvalid
from tests.support.system import free_row

SECONDS_TO_SERVE = 90
SECONDS_TO_END = 60
PORTS = len(dataclasses.fields(Ports))
# What would lead a stack of its own to somebody else's database or participants.
FOREIGN = re.compile(r"DATABASE_URL|DB_\w+|\w+_URL|\w+_PORT|PROMETHEUS_MULTIPROC_DIR|DJANGO_SETTINGS_MODULE")


class Run:
    """One `python -m devstack.run`."""

    def __init__(self, data: Path) -> None:
        self.data, self.base, self.mark = data, free_row(), f"run-{uuid4()}"
        self.output = data.with_suffix(".log")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, env=self.environment(), stdout=output, stderr=subprocess.STDOUT
            )

    def command(self, *more: str) -> list[str]:
        return [sys.executable, "-m", "devstack.run", "--data", str(self.data), "--base-port", str(self.base), *more]

    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
        return {**mine, "RUN_MARK": self.mark}

    def again(self, *more: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*more)
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_END,
            check=False,
        )

    def text(self) -> str:
        return self.output.read_text()

    def wait_until_serving(self) -> None:
        wait_until(lambda: "Serving." in self.text() or self.process.poll() is not None, SECONDS_TO_SERVE, self.text)
        assert self.process.poll() is None, self.text()

    def wait_for_end(self) -> int:
        return self.process.wait(SECONDS_TO_END)

    def left(self) -> list[str]:
        """Every process that this run started, known by its environment, its command line or its directory."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                marked = f"RUN_MARK={self.mark}".encode() in (entry / "environ").read_bytes()
                at_home = (entry / "cwd").readlink().is_relative_to(self.data)
                if command and (marked or at_home or str(self.data) in command):
                    found.append(f"{entry.name}: {command}")
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.again("--stop")


def wait_until(condition: Callable[[], bool], seconds: float, say: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, say()
        time.sleep(0.05)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started = Run(tmp_path / "data")
    yield started
    started.end()


@contextlib.contextmanager
def others_ordering(api: str) -> Iterator[list[int]]:
    """Somebody else orders one unit after the other; the statuses of the answers."""
    done, statuses = threading.Event(), []

    def order_on():
        while not done.wait(0.05):
            statuses.append(requests.post(api + PATH, json=ORDER, timeout=30).status_code)

    other = threading.Thread(target=order_on)
    other.start()
    try:
        yield statuses
    finally:
        done.set()
        other.join()


def test_it_serves_orders_from_end_to_end_and_ctrl_c_leaves_nothing_behind(run):
    run.wait_until_serving()
    assert "201 SAGA_TERMINEE" in run.text()
    assert f"{os.path.relpath(sys.executable)} test_saga_integration.py --api" in run.text()

    second = run.again()
    assert second.returncode == 1
    assert f"already running (process {run.process.pid})" in second.stderr

    api, gateway = (f"http://localhost:{run.base + offset}" for offset in (0, 1))
    script = [sys.executable, "test_saga_integration.py", "--api", api, "--gateway", gateway]
    with others_ordering(api) as orders:
        checked = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert orders
    assert set(orders) == {201}

    run.process.send_signal(signal.SIGINT)
    assert run.wait_for_end() == 0, run.text()
    assert run.left() == []


def test_a_process_that_dies_is_named_and_everything_ends(run):
    run.wait_until_serving()
    worker = next(line for line in run.left() if "saga_worker" in line)

    os.kill(int(worker.partition(":")[0]), signal.SIGKILL)

    assert run.wait_for_end() == 1
    assert "worker ended with status -9" in run.text()
    assert run.left() == []


def test_everything_but_the_database_and_the_broker_ends_with_a_supervisor_that_is_killed(run):
    run.wait_until_serving()

    run.process.kill()
    run.wait_for_end()

    wait_until(
        lambda: all("postgres" in line or "pulsar-lite" in line or "devstack.broker" in line for line in run.left()),
        SECONDS_TO_END,
        run.left,
    )
    assert run.again("--stop").returncode == 0
    assert run.left() == []


def refused(module, *arguments, **environment):
    """What is said of what cannot be done; never a trace."""
    mine = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**mine, **environment}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_every_taken_port_is_named_at_once_with_what_chooses_others(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as too:
        ports = {"API_PORT": str(taken.getsockname()[1]), "GATEWAY_PORT": str(too.getsockname()[1])}
        said = refused("devstack.run", "--data", str(tmp_path), **ports, **other_ports())

    assert f"port {ports['API_PORT']} (api), port {ports['GATEWAY_PORT']} (gateway) are taken" in said
    assert 'RUN="--base-port 9000"' in said
    assert "API_PORT=... GATEWAY_PORT=..." in said


def other_ports():
    names = {each.name for each in dataclasses.fields(Ports)} - {"api", "gateway", "postgres", "broker"}
    return {variable(name): str(free_port()) for name in names}


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("devstack.run", ["--base-port", "99999"], f"--base-port 99999: must be from 1 to {65536 - PORTS}"),
        ("devstack.run", ["--base-port", "0"], "--base-port 0: must be from 1"),
        ("devstack.bench", ["--compare", "/nope.json"], "/nope.json: No such file or directory"),
        ("devstack.bench", ["--compare", "pyproject.toml"], "pyproject.toml is not a result of this benchmark"),
        ("devstack.bench", ["--rounds", "0"], "'0' is not a whole number above 0"),
        ("devstack.bench", ["--seconds", "nan"], "'nan' is not a number of seconds"),
        ("devstack.bench_pair", ["--alike", "--starts", "0"], "'0' is not a whole number above 0"),
        ("devstack.bench_instructions", ["--orders", "0"], "'0' is not a whole number above 0"),
        ("devstack.gateway_bench", ["--config", "/nope.yml"], "/nope.yml"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_a_sentence(module, arguments, said):
    assert said in refused(module, *arguments)


def test_a_port_of_the_environment_that_is_none_is_refused_by_its_name():
    assert "GATEWAY_PORT=eighty: must be a port" in refused("devstack.run", GATEWAY_PORT="eighty")


BROKEN = {
    "definition": (DefinitionInvalid("loan", ["step 'payout' has no undo"]), "The definition of 'loan' has 1 fault(s)"),
    "module": (AttributeError("no DEFINITIONS"), "a workflow cannot be read: AttributeError: no DEFINITIONS"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_workflow_is_a_sentence_before_anything_starts(case, monkeypatch, capsys, tmp_path):
    error, said = BROKEN[case]

    def broken():
        raise error

    monkeypatch.setattr("devstack.run.shipped_definitions", broken)
    monkeypatch.setattr("devstack.run.signal.signal", lambda *_: None)

    assert devstack.run.main(["--data", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"run: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


def test_the_end_to_end_script_says_how_to_start_what_it_does_not_find():
    nowhere = f"http://127.0.0.1:{free_port()}"
    script = [sys.executable, "test_saga_integration.py", "--api", nowhere, "--gateway", nowhere]

    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 2
    assert nowhere in done.stderr
    assert "make run" in done.stderr


def test_the_end_to_end_script_says_what_to_do_without_requests():
    script = [sys.executable, "-S", "-E", "test_saga_integration.py"]

    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert ".venv/bin/python" in line
