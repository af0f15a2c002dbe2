"""`saga_monitor_events` as a real process beside a real broker."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from application.ports import Message
from devstack import broker
from infrastructure.pulsar_bus import PulsarPublisher

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(tmp_path) -> Iterator[str]:
    yield broker.ensure_running(tmp_path / "broker")
    broker.stop(tmp_path / "broker")


def start(url: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "saga_monitor_events", *options]
    environment = {**os.environ, "BROKER_URL": url, "DEBUG": "True"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def watch(url: str, messages: list[Message], expected: int, *options: str) -> list[str]:
    """What is printed, by a monitor that is ended by Ctrl-C."""
    process = start(url, *options)
    for line in process.stderr:
        if "connected to the broker" in line:
            break
    PulsarPublisher(url).publish(messages)
    lines = [process.stdout.readline().rstrip("\n") for _ in range(expected)]
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, ""), errors
    assert "Traceback" not in errors
    return lines


MESSAGES = [
    Message("saga-events", "s-1", b'{"type": "saga_started",\n "nom": "\xc3\xa9"}', {}),
    Message("eventos-partners", "p-1", b"\xff\x1b[2J", {}),
    Message("gestion-de-integraciones", "\x1b[31m", b'{"a": 1}', {}),
    Message("administracion-financiera-compliance", "", b"[" * 100_000, {}),
]


def test_every_message_is_one_line_that_a_terminal_can_bear(url):
    lines = watch(url, MESSAGES, 4)
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  ", line) and line.isprintable() for line in lines)
    saga, partner, command, answer = (
        next(line for line in lines if each.topic in line).partition("  ")[2] for each in MESSAGES
    )
    assert saga == 'saga-events  s-1  {"type": "saga_started", "nom": "é"}'
    assert partner == "eventos-partners  p-1  b'\\xff\\x1b[2J'"
    assert command == 'gestion-de-integraciones  \\x1b[31m  {"a": 1}'
    assert answer.startswith("administracion-financiera-compliance  -  b'[[[[")
    assert len(answer) < 2200


def test_only_the_chosen_topics_are_shown(url):
    (line,) = watch(url, MESSAGES, 1, "--type", "partner")
    assert "eventos-partners" in line


def test_without_a_broker_it_says_so():
    process = start("")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "BROKER_URL is not set" in errors
