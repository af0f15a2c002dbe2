"""The service's gunicorn worker: clients that do not go on hold no thread for longer than they may."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.participants_support import DEADLINE, ROOT, free_port, until

TO_SEND, TO_TAKE, THREADS = 1.0, 2, 2
LARGE = 40_000_000  # more than the kernels of both sides keep
CONFIGURATION = f"""
import logging
from saga_service import worker
worker.SECONDS_TO_SEND, worker.SECONDS_TO_TAKE = {TO_SEND}, {TO_TAKE}
worker_class, threads, keepalive = worker.SagaWorker, {THREADS}, 30
control_socket_disable = True
"""
APPLICATION = f"""
import time
def application(environ, start_response):
    status, body = "200 OK", b"here"
    if environ["PATH_INFO"] == "/long":
        time.sleep({2 * TO_SEND})
    if environ["PATH_INFO"] == "/large":
        body = b"x" * {LARGE}
    try:
        body = environ["wsgi.input"].read() or body
    except TimeoutError:
        status, body = "408 Request Timeout", b"too slow"
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]
"""
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
HALVES = {"a head": POST[:40], "a body": POST + b"half"}


class Server:
    """One gunicorn with two threads."""

    def __init__(self, directory: Path) -> None:
        (directory / "conf.py").write_text(CONFIGURATION)
        (directory / "slow_application.py").write_text(APPLICATION)
        self.port, self.log = free_port(), directory / "log"
        command = [sys.executable, "-m", "gunicorn", "slow_application:application", "--bind", f"127.0.0.1:{self.port}"]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{directory}"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(directory / "conf.py")], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        until(self._listens, "gunicorn listens")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    @contextlib.contextmanager
    def client(self, said: bytes = b"", receive_buffer: int = 0) -> Iterator[socket.socket]:
        with socket.socket() as client:
            client.settimeout(DEADLINE)
            if receive_buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            client.connect(("127.0.0.1", self.port))
            client.sendall(said)
            yield client

    def seconds_to_answer(self) -> float:
        began = time.monotonic()
        with self.client(GET % b"/") as client:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        return time.monotonic() - began


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("slow"))
    yield started
    started.process.terminate()
    started.process.wait(DEADLINE)


@pytest.fixture
def clients(server):
    """Makes clients that are gone after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(server.client(*arguments))


def everything(client: socket.socket) -> bytes:
    """Until the server closes."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_clients_that_say_nothing_hold_no_thread(server, clients):
    silent = [clients() for _ in range(3 * THREADS)]
    time.sleep(0.3)

    assert server.seconds_to_answer() < TO_SEND / 2
    for client in silent:
        client.sendall(GET % b"/")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("half", HALVES)
def test_clients_that_send_half_a_request_are_told_and_closed_and_others_are_served(server, clients, half):
    slow = [clients(HALVES[half]) for _ in range(2 * THREADS)]

    assert server.seconds_to_answer() < 6 * TO_SEND
    for client in slow:
        assert everything(client).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert server.seconds_to_answer() < TO_SEND / 2


def test_the_answer_to_half_a_head_is_a_problem_and_one_line_of_the_log(server, clients):
    logged = len(server.log.read_text().splitlines())

    head, _, body = everything(clients(HALVES["a head"])).partition(b"\r\n\r\n")

    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["code"] == "request_timeout"
    (line,) = server.log.read_text().splitlines()[logged:]
    assert "[INFO]" in line


def test_a_client_that_sends_byte_by_byte_is_closed_too(clients):
    client, began = clients(POST), time.monotonic()
    client.settimeout(0.1)
    answer = b""
    while not answer:
        assert time.monotonic() - began < 4 * TO_SEND
        client.sendall(b"x")
        with contextlib.suppress(TimeoutError):
            answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408")


def test_a_connection_may_rest_between_two_requests(clients):
    client = clients(GET % b"/")
    assert client.recv(65536).startswith(b"HTTP/1.1 200")
    time.sleep(1.5 * TO_SEND)

    for part in (POST, b"twenty bytes ", b"are her"):
        client.sendall(part)
        time.sleep(0.3 * TO_SEND)
    assert client.recv(65536).endswith(b"twenty bytes are her")


def test_a_request_may_take_longer_than_its_sending(clients):
    client = clients(GET % b"/long")

    assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_long_answer_may_be_taken_slowly(clients):
    client, taken = clients(GET % b"/large"), 0
    while taken < LARGE:
        taken += len(client.recv(LARGE // 10))
        if taken < LARGE // 2:
            time.sleep(0.3)

    assert taken > LARGE


def test_clients_that_take_nothing_of_their_answer_are_closed(server, clients):
    for _ in range(THREADS):
        clients(GET % b"/large", 4096)
    time.sleep(0.2)

    assert server.seconds_to_answer() < 5 * TO_TAKE
    assert "Traceback" not in server.log.read_text()
