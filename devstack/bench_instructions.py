"""What metrics, logs and traces cost, counted in instructions, which no neighbour on the machine disturbs.

The same orders are placed in one process, one after the other, under valgrind's callgrind: with nothing told, with
metrics and logs as in production, and with traces besides. What the process executes is counted from the first order
after a warm-up until the last span is sent; what the kernel and other processes do for it is not.
`python -m devstack.bench_instructions`
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from devstack import postgres
from devstack.bench import DATA, ROOT, SECONDS_TO_START, BenchError, _count, _migrate
from devstack.bench_load import ORDER, PATH
from devstack.bench_stub import stub_command
from devstack.lock import LockHeldError, only_one
from devstack.processes import ProcessError, Processes, accepts, free_port
from interfaces.command_help import ending

WARM_UP = 30
"""Orders before: statements are prepared, connections open, caches filled."""
SILENT = {"SAGA_METRICS": "False", "LOG_LEVEL": "CRITICAL"}
VARIANTS = ("nothing", "metrics", "metrics and logs", "metrics, logs and traces")
COUNTED = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def environment_of(variant: str, stub: str) -> dict[str, str]:
    """What makes a process tell so much."""
    return {
        "nothing": SILENT,
        "metrics": {"LOG_LEVEL": "CRITICAL"},
        "metrics and logs": {},
        # A batch is sent when it is full, as under load; under callgrind a second is hardly an order.
        "metrics, logs and traces": {"OTEL_EXPORTER_OTLP_ENDPOINT": stub, "OTEL_BSP_SCHEDULE_DELAY": "3600000"},
    }[variant]


def place_orders(count: int, switch: Callable[[], Any]) -> None:
    """What is done in the process that is looked at; `switch` turns the counter on, and the next time off."""
    from saga_service.wsgi import application  # noqa: PLC0415 - it starts the whole service

    _place(application, WARM_UP)
    switch()
    _place(application, count)
    switch()


def _place(application: Any, count: int) -> None:
    from infrastructure import metrics, tally  # noqa: PLC0415 - read by the application

    # As under load, in batches: one a second, which under callgrind is a few orders.
    tally.EVERY = 3600.0
    for _ in range(count):
        _order(application)
    metrics._tally.write()  # noqa: SLF001
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from infrastructure.tracing import tracer  # noqa: PLC0415 - OpenTelemetry, only where it is measured

        tracer().flush()


def _order(application: Any) -> None:
    body = json.dumps(ORDER).encode()
    request = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    answered: list[str] = []
    answer = b"".join(application(request, lambda status, _headers: answered.append(status)))
    if answered != ["201 Created"] or b'"SAGA_TERMINEE"' not in answer:
        raise BenchError(f"{answered}: {answer[:500]!r}")


class Switch:
    """Turns callgrind's counting in this process on, and the next time off."""

    def __init__(self) -> None:
        self._state = "off"

    def __call__(self) -> None:
        """The other state."""
        self._state = "on" if self._state == "off" else "off"
        subprocess.run(
            ["callgrind_control", f"--instr={self._state}", str(os.getpid())], check=True, capture_output=True
        )


def counted(environment: Mapping[str, str], orders: int, data: Path) -> float:
    """Instructions an order."""
    for old in data.glob("callgrind.*"):
        old.unlink()
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={data}/callgrind.%p"]
    command += ["--", sys.executable, "-m", "devstack.bench_instructions", "--here", "--orders", str(orders)]
    done = subprocess.run(command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(done.stderr[-3000:])
    found = [int(number) for path in data.glob("callgrind.*") for number in COUNTED.findall(path.read_text())]
    if not any(found):
        raise BenchError("callgrind counted nothing")
    return max(found) / orders


def run(options: argparse.Namespace) -> dict[str, float]:
    """Start what an order needs, count each variant, end everything."""
    data = options.data
    postgres.stop(data / "postgres", "immediate")
    shutil.rmtree(data / "postgres", ignore_errors=True)
    try:
        with Processes(data / "logs", ROOT) as processes:
            port = free_port()
            processes.start("participants", stub_command(data / "participants", port), os.environ)
            processes.wait_until("participants", lambda: accepts(port), SECONDS_TO_START)
            stub, database = f"http://127.0.0.1:{port}", postgres.ensure_running(data / "postgres")
            common = {
                "DEBUG": "True",
                **os.environ,
                **dict.fromkeys(("INVENTAIRE_URL", "CATALOGUE_URL", "COMMANDES_URL"), stub),
                "DATABASE_URL": database,
                "PYTHONHASHSEED": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            _migrate(common)
            return {variant: _variant(variant, common, stub, options) for variant in VARIANTS}
    finally:
        postgres.stop(data / "postgres", "immediate")


def _variant(variant: str, common: Mapping[str, str], stub: str, options: argparse.Namespace) -> float:
    metrics = options.data / "metrics-counted"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(parents=True)
    more = {"PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    found = counted({**common, **more, **environment_of(variant, stub)}, options.orders, options.data)
    print(f"{variant}: {found:,.0f} instructions an order", file=sys.stderr, flush=True)
    return found


def report(found: Mapping[str, float]) -> str:
    """A line for each, with its ratio to the one that tells nothing."""
    least = found[VARIANTS[0]]
    lines = ["| told | million instructions an order | ratio |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {count / 1e6:.2f} | {count / least:.3f} |" for name, count in found.items()]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.bench_instructions",
        description=__doc__,
        **ending(
            "python -m devstack.bench_instructions",
            "python -m devstack.bench_instructions --orders 50",
            exits="0 counted, 1 it could not be counted (valgrind is needed), 2 wrong usage",
        ),
    )
    made.add_argument("--orders", type=_count, default=120, metavar="N", help="orders that are counted (default 120)")
    made.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="database and logs (default .data/bench)")
    made.add_argument("--here", action="store_true", help="place the orders in this process, which callgrind watches")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    options.data = options.data.resolve()
    if options.here:
        place_orders(options.orders, Switch())
        return 0
    if not shutil.which("valgrind"):
        print("bench_instructions: valgrind is not installed", file=sys.stderr)
        return 1
    try:
        with only_one(options.data / "bench.lock"):
            found = run(options)
    except (BenchError, LockHeldError, ProcessError, postgres.PostgresError) as error:
        print(f"bench_instructions: {error}", file=sys.stderr)
        return 1
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
