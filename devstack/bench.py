"""What a saga costs: `make bench`. The success path of a one-line order at 1, 8 and 32 clients.

The orchestrator runs as in production (gunicorn, its own configuration), on a PostgreSQL of the benchmark's own that
syncs every commit, against participants that cost nothing. Rounds alternate between the numbers of clients, so that
a machine busy with something else disturbs all alike; the table shows medians. docs/benchmark.md explains it.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from devstack import postgres
from devstack.bench_measure import DatabaseCounts, Stopwatch, children
from devstack.bench_report import comparison, table
from devstack.bench_stub import stub_command
from devstack.lock import LockHeldError, only_one
from devstack.processes import ProcessError, Processes, accepts, answers, free_port
from interfaces.command_help import ending
from interfaces.progress_bar import ProgressBar

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".data" / "bench"
CLIENTS = (1, 8, 32)
WSGI = "saga_service.wsgi:application"
SECONDS_TO_START = 30
MOST = 100_000


class BenchError(Exception):
    """The measurement is void: a saga did not complete, or something that it needs is missing."""


class Bench:
    """The running stack: where to send orders, and which processes to charge for them."""

    def __init__(self, processes: Processes, wsgi: str, data: Path) -> None:
        self.processes, self.data, self.port = processes, data, free_port()
        shutil.rmtree(data / "postgres", ignore_errors=True)  # so that every run begins with the same, empty tables
        self.database = postgres.ensure_running(data / "postgres")
        stub = free_port()
        self.stub_url = f"http://127.0.0.1:{stub}"
        self.stub = processes.start("participants", stub_command(data / "participants", stub), os.environ)
        processes.wait_until("participants", lambda: accepts(stub), SECONDS_TO_START)
        self.environment = self._environment(self.stub_url)
        if wsgi == WSGI:
            _migrate(self.environment)
        self.counts = DatabaseCounts(self.database)
        self.gunicorn = processes.start("orchestrator", self._gunicorn(wsgi), self.environment)
        processes.wait_until("orchestrator", lambda: answers(f"http://127.0.0.1:{self.port}/health"), SECONDS_TO_START)

    def _environment(self, stub: str) -> dict[str, str]:
        metrics = self.data / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(parents=True)
        participants = dict.fromkeys(("INVENTAIRE_URL", "CATALOGUE_URL", "COMMANDES_URL"), stub)
        return {
            "DEBUG": "True",
            **os.environ,
            **participants,
            "DATABASE_URL": self.database,
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }

    def _gunicorn(self, wsgi: str) -> list[str]:
        command = [sys.executable, "-m", "gunicorn", wsgi, "--bind", f"127.0.0.1:{self.port}"]
        return [*command, "--config", str(ROOT / "saga_service" / "gunicorn_conf.py")]

    @contextlib.contextmanager
    def charged(self) -> Iterator[Stopwatch]:
        """CPU time spent while the block runs, by group."""
        stopwatch = Stopwatch(
            gunicorn=lambda: children(self.gunicorn),
            postgres=lambda: postgres.processes(self.data / "postgres"),
            participants=lambda: [self.stub],
        )
        yield stopwatch
        stopwatch.stop()


class Load:
    """The process of the clients; ends with the block."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, "-m", "devstack.bench_load", str(port)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, **pipes, text=True, cwd=ROOT, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, clients: int, seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"clients": clients, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the load generator died"}')
        if "error" in answer:
            raise BenchError(f"at {clients} clients: {answer['error']}")
        return dict(answer)

    def processes(self) -> list[int]:
        return [self._process.pid]


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, run the rounds, and give the medians by number of clients."""
    rounds: dict[int, list[dict[str, float]]] = {clients: [] for clients in options.clients}
    total = 0
    with Load(bench.port) as load:
        for clients in options.clients:
            total += load.run(clients, options.warm_up)["sagas"]
        with ProgressBar("measuring", options.rounds * len(options.clients), "rounds") as bar:
            for _ in range(options.rounds):
                for clients in options.clients:
                    rounds[clients].append(_round(bench, load, clients, options.seconds))
                    total += int(rounds[clients][-1]["sagas"])
                    bar.advance(f"{clients} clients: {rounds[clients][-1]['per_second']:.0f} sagas/s")
    medians = {str(clients): _medians(measured) for clients, measured in rounds.items()}
    return {"clients": medians, "sagas": total}


def _round(bench: Bench, load: Load, clients: int, seconds: float) -> dict[str, float]:
    with bench.charged() as stopwatch:
        stopwatch.add(load=load.processes)
        result = load.run(clients, seconds)
    cpu = {f"cpu_{group}_ms": spent * 1000 / result["sagas"] for group, spent in stopwatch.seconds.items()}
    return {**result, "per_second": result["sagas"] / result["elapsed"], **cpu, "cpu_all_ms": sum(cpu.values())}


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _migrate(environment: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate", "--no-input"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"migrate failed:\n{done.stdout}{done.stderr}")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure, end everything; also when it fails."""
    postgres.stop(options.data / "postgres", "immediate")  # of a run that was killed
    shutil.rmtree(options.data / "logs", ignore_errors=True)
    try:
        with Processes(options.data / "logs", ROOT) as processes:
            bench = Bench(processes, options.wsgi, options.data)
            profiler = _profiler(bench, options) if options.profile else None
            result = measure(bench, options)
            if profiler is not None:
                profiler.wait()
        # the sessions of gunicorn are closed now, so that PostgreSQL has counted what they did
        return {**_circumstances(options), **result, **bench.counts.per_saga(result["sagas"])}
    finally:
        postgres.stop(options.data / "postgres", "immediate")


def _profiler(bench: Bench, options: argparse.Namespace) -> subprocess.Popen[bytes] | None:
    program = shutil.which("py-spy")
    if program is None:
        print("--profile needs py-spy (pip install py-spy): going on without", file=sys.stderr)
        return None
    seconds = (options.rounds * options.seconds + options.warm_up) * len(options.clients)
    output = options.data / "profile.svg"
    print(f"profile: {output}", file=sys.stderr)
    command = [program, "record", "--subprocesses", "--duration", str(int(seconds)), "--output", str(output)]
    return subprocess.Popen(
        [*command, "--pid", str(bench.gunicorn)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def _circumstances(options: argparse.Namespace) -> dict[str, Any]:
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git.stdout.strip() or None,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < MOST:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")


def _result(text: str) -> dict[str, Any]:
    """An earlier run's result."""
    try:
        found = json.loads(Path(text).read_text())
        comparison(found, found)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not a result of this benchmark") from error
    return dict(found)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.bench",
        description="Measure sagas a second, their latency and their CPU time.",
        **ending(
            "python -m devstack.bench",
            "python -m devstack.bench --clients 8 --rounds 9 --seconds 3",
            "python -m devstack.bench --compare .data/bench/before.json",
            exits="0 measured, 1 it could not be measured, 2 wrong usage, 130 interrupted",
        ),
    )
    made.add_argument(
        "--clients",
        type=_count,
        nargs="+",
        default=list(CLIENTS),
        metavar="N",
        help="clients at once, one measurement for each number (default 1 8 32)",
    )
    made.add_argument(
        "--rounds", type=_count, default=5, metavar="N", help="rounds for each number of clients (default %(default)s)"
    )
    made.add_argument(
        "--seconds", type=_seconds, default=5.0, metavar="S", help="seconds of each round (default %(default)g)"
    )
    made.add_argument(
        "--warm-up",
        type=_seconds,
        default=2.0,
        metavar="S",
        help="seconds before, for each number of clients (default %(default)g)",
    )
    made.add_argument("--compare", type=_result, metavar="FILE", help="show ratios to an earlier result")
    made.add_argument(
        "--output", type=Path, metavar="FILE", help="where the result goes (default: last.json in the data directory)"
    )
    made.add_argument("--profile", action="store_true", help="record a flame graph (needs py-spy; slows what it sees)")
    made.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help="database, logs and results (default .data/bench)"
    )
    made.add_argument(
        "--wsgi",
        default=WSGI,
        metavar="MODULE:NAME",
        help="another application: to know what the measurement itself costs (default %(default)s)",
    )
    return made


def _options(arguments: list[str] | None) -> argparse.Namespace:
    return parser().parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    options.data = options.data.resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with only_one(options.data / "bench.lock"):
            result = run(options)
    except (BenchError, LockHeldError, ProcessError, postgres.PostgresError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(table(result))
    if options.compare is not None:
        print(comparison(result, options.compare))
    output = options.output or options.data / "last.json"
    output.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
