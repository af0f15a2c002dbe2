"""What the development gateway costs: the same small request to a stub, directly and through the gateway.

`python -m devstack.gateway_bench` prints both medians, their difference and the CPU time of a request; the
gateway runs this project's own kong.yml with every plugin on the way.
"""

import argparse
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from devstack.gateway import nginx_command, prepare
from devstack.gateway_conf import TEMPORARY_PATHS, Gateway
from devstack.kong_file import KongFileError, load
from interfaces.command_help import ending

STUB = """daemon off; master_process off; error_log stderr error; pid {run}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}
access_log off; keepalive_requests 10000000; default_type application/json;
server {{ listen {listen}; location / {{ return 200 '{{"quantite_disponible":100}}'; }} }}
}}
"""
PATH = "/api/inventaire/api/ddd/inventaire/stock-local/p/m/"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def running(command: list[str], listen: str, seconds: float = 10) -> Iterator[subprocess.Popen[bytes]]:
    """The process while it accepts connections at `listen`; ended, and waited for, on leaving."""
    process = subprocess.Popen(command)
    try:
        wait_for(listen, process, time.monotonic() + seconds)
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for(listen: str, process: subprocess.Popen[bytes], deadline: float) -> None:
    host, _, port = listen.rpartition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens at {listen}") from error
            time.sleep(0.01)
        else:
            return


def stub_conf(run_dir: Path, listen: str) -> Path:
    temporary = " ".join(f"{name}_temp_path {run_dir / name};" for name in TEMPORARY_PATHS)
    conf = run_dir / "nginx.conf"
    run_dir.mkdir()
    conf.write_text(STUB.format(run=run_dir, listen=listen, temporary=temporary), encoding="ascii")
    return conf


def median_milliseconds(listen: str, path: str, requests: int) -> float:
    """One client, one connection, one request after the other: the latency that a saga's step sees."""
    host, _, port = listen.rpartition(":")
    message = f"GET {path} HTTP/1.1\r\nHost: {listen}\r\nX-API-Key: magasin-secret-key-2025\r\n\r\n".encode()
    times = []
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(requests):
            started = time.perf_counter()
            connection.sendall(message)
            _read_answer(connection)
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _read_answer(connection: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise RuntimeError(f"not the stub's answer: {head.decode()}")
    while len(body) < int(length[1]):
        body += connection.recv(65536)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(config: Path, rounds: int, requests: int) -> str:
    """Alternating rounds against the stub and against the gateway, as a printable report."""
    with tempfile.TemporaryDirectory() as directory:
        stub, listen = free_address(), free_address()
        gateway = Gateway(
            listen=listen,
            status_listen=free_address(),
            run_dir=Path(directory) / "gateway",
            resolve={"inventaire:8000": stub},
        )
        with (
            running(nginx_command(stub_conf(Path(directory) / "stub", stub)), stub),
            running(nginx_command(prepare(config, gateway)), listen) as process,
        ):
            direct, through = [], []
            before = cpu_seconds(process.pid)
            for _ in range(rounds):
                direct.append(median_milliseconds(stub, "/", requests))
                through.append(median_milliseconds(listen, PATH, requests))
            busy = (cpu_seconds(process.pid) - before) / (rounds * requests)
    added = statistics.median(through) - statistics.median(direct)
    return (
        f"median of {rounds} rounds of {requests} requests, one client\n"
        f"direct               {statistics.median(direct):.3f} ms\n"
        f"through the gateway  {statistics.median(through):.3f} ms\n"
        f"added                {added:.3f} ms\n"
        f"CPU a request        {busy * 1e6:.0f} us, or {1 / busy:,.0f} requests/s on one core"
    )


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.gateway_bench",
        description="Measure what the development gateway adds to a request.",
        **ending(
            "python -m devstack.gateway_bench",
            "python -m devstack.gateway_bench --rounds 3 --requests 1000",
            exits="0 well, 1 it could not be done (a sentence says why), 2 wrong usage",
        ),
    )
    made.add_argument(
        "--config",
        type=Path,
        default=Path("kong/kong.yml"),
        metavar="FILE",
        help="what the gateway serves (default %(default)s)",
    )
    made.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds (default %(default)s)")
    made.add_argument("--requests", type=int, default=5000, metavar="N", help="requests a round (default %(default)s)")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        load(options.config)
    except (KongFileError, OSError) as error:
        parser().error(f"--config {options.config}: {error}")
    print(measure(options.config, options.rounds, options.requests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
