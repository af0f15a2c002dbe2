"""A gateway process in front of an upstream that answers with what it received, and a client that hides nothing."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import yaml

from devstack.gateway_bench import free_address, wait_for

ROOT = Path(__file__).resolve().parents[2]
KONG_FILE = ROOT / "kong" / "kong.yml"
SHOP, READER, STRANGER = "magasin-secret-key-2025", "lecteur-dev-key", "visiteur-dev-key"
NO_ROUTE = "no Route matched with those values"
BAD_GATEWAY = "An invalid response was received from the upstream server"


class Upstream(BaseHTTPRequestHandler):
    """Answers with what it received; some paths misbehave."""

    protocol_version = "HTTP/1.1"
    calls: ClassVar[Counter] = Counter()
    released = threading.Event()

    def answer(self):
        self.calls[self.path] += 1
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path.endswith("/slow"):
            self.released.wait(10)
        if self.path.endswith("/reset"):
            self.close_connection = True
            return
        if self.path.endswith("/invalid"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n")
            self.close_connection = True
            return
        status = int(found[1]) if (found := re.search(r"/status/(\d+)", self.path)) else 200
        seen = {"method": self.command, "path": self.path, "headers": self.headers.items(), "size": len(body)}
        self.reply(status, json.dumps(seen).encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer  # noqa: N815

    def version_string(self):
        return "upstream/1"

    def log_message(self, *arguments):
        pass


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def received(self):
        """The headers that the upstream received, in lower case; a repeated one fails here."""
        pairs = [(name.lower(), value) for name, value in self.json["headers"]]
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)


def call(gateway, method, path, *headers, key=SHOP, body=None):
    connection = http.client.HTTPConnection(gateway, timeout=10)
    try:
        connection.putrequest(method, path)
        for name, value in (*headers, *((("X-API-Key", key),) if key is not None else ())):
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@contextlib.contextmanager
def running_upstream():
    """The upstream's address while it serves."""
    Upstream.released.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        Upstream.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Running:
    listen: str
    status: str
    process: subprocess.Popen


def gateway_command(run_dir, kong, resolve):
    """The command and its two addresses; `kong` None is the shipped file."""
    config = run_dir / "kong.yml"
    config.write_text(yaml.safe_dump(kong) if kong else KONG_FILE.read_text(encoding="utf-8"), encoding="utf-8")
    listen, status = free_address(), free_address()
    command = [sys.executable, "-m", "devstack.gateway", "--config", config, "--run-dir", run_dir / "run"]
    command += ["--listen", listen, "--status-listen", status]
    command += [word for name, address in resolve.items() for word in ("--resolve", f"{name}={address}")]
    return command, listen, status


@contextlib.contextmanager
def gateways(new_directory, upstream):
    """A function that starts gateways, each with its own configuration; all are ended on leaving.

    inventaire and the orchestrator are the upstream, commandes is an address that refuses, catalogue is nowhere.
    """
    processes = []
    resolve = {"inventaire:8000": upstream, "orchestrator:8009": upstream, "commandes:8000": free_address()}

    def start(kong=None):
        command, listen, status = gateway_command(new_directory(), kong, resolve)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.append(process)
        wait_for(listen, process, time.monotonic() + 20)
        return Running(listen, status, process)

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.wait()


def assert_own_answer(answer, status, message, *, sent=False):
    """As Kong speaks for itself; `sent` says that the request had gone to the upstream."""
    request_id = answer.headers["X-Kong-Request-Id"]
    assert (answer.status, answer.json) == (status, {"message": message, "request_id": request_id})
    assert answer.body.decode() == f'{{\n  "message":"{message}",\n  "request_id":"{request_id}"\n}}'
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Server"] == "kong/3.9.3"
    assert ("Via" in answer.headers, "X-Kong-Response-Latency" in answer.headers) == (sent, not sent)
