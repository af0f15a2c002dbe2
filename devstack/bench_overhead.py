"""What metrics and logs cost: the same orders to two orchestrators in turns, one of which tells nothing.

Both run at once on one database; rounds alternate between them, and each pair of neighbours gives a ratio, so that a
machine busy with something else disturbs both alike. The one that tells is scraped as Prometheus would.
`python -m devstack.bench_overhead --rounds 20`
"""

import argparse
import contextlib
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from devstack import postgres
from devstack.bench import DATA, ROOT, SECONDS_TO_START, WSGI, Bench, BenchError, Load, _count, _round, _seconds
from devstack.lock import LockHeldError, only_one
from devstack.processes import ProcessError, Processes, answers, free_port
from interfaces.command_help import ending

SILENT = {"metrics": {"SAGA_METRICS": "False"}, "logs": {"LOG_LEVEL": "CRITICAL"}, "nothing": {}}
"""How the environment turns each of them off; without nothing, both are alike: what the measurement itself is worth."""
SECONDS_BETWEEN_SCRAPES = 5.0


class SilentBench(Bench):
    """A second orchestrator beside the first one's database and participants, with the same processes to charge."""

    def __init__(self, first: Bench, without: Sequence[str]) -> None:
        self.processes, self.data, self.database, self.stub = first.processes, first.data, first.database, first.stub
        self.port = free_port()
        environment = {**first.environment, "PROMETHEUS_MULTIPROC_DIR": str(first.data / "metrics-silent")}
        for each in without:
            environment |= SILENT[each]
        self.gunicorn = self.processes.start("silent", self._gunicorn(WSGI), environment)
        health = f"http://127.0.0.1:{self.port}/health"
        self.processes.wait_until("silent", lambda: answers(health), SECONDS_TO_START)


@contextlib.contextmanager
def scraped(port: int) -> Iterator[None]:
    """Prometheus' part, until the block ends."""
    done = threading.Event()

    def scrape() -> None:
        while not done.wait(SECONDS_BETWEEN_SCRAPES):
            answers(f"http://127.0.0.1:{port}/metrics/")

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def measure(told: Bench, silent: Bench, options: argparse.Namespace) -> dict[str, list[float]]:
    """The ratios of neighbouring rounds, telling to silent."""
    ratios: dict[str, list[float]] = {"cpu_gunicorn_ms": [], "cpu_all_ms": [], "per_second": []}
    with Load(told.port) as load, Load(silent.port) as other, scraped(told.port):
        for each in (load, other):
            each.run(options.clients, options.warm_up)
        for number in range(options.rounds):
            pair = [(told, load), (silent, other)]
            results = {}
            for bench, generator in pair if number % 2 else reversed(pair):  # whoever is first changes
                results[bench] = _round(bench, generator, options.clients, options.seconds)
            for name, found in ratios.items():
                found.append(results[told][name] / results[silent][name])
            print(f"\rround {number + 1} of {options.rounds}   ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return ratios


def run(options: argparse.Namespace) -> dict[str, list[float]]:
    """Start everything, measure, end everything; also when it fails."""
    postgres.stop(options.data / "postgres", "immediate")
    try:
        with Processes(options.data / "logs", ROOT) as processes:
            told = Bench(processes, WSGI, options.data)
            return measure(told, SilentBench(told, options.without), options)
    finally:
        postgres.stop(options.data / "postgres", "immediate")


def shown(ratios: dict[str, list[float]]) -> str:
    """The medians with their quartiles."""
    lines = ["with, to without                            median   quartiles"]
    names = {
        "cpu_gunicorn_ms": "CPU of the service a saga",
        "cpu_all_ms": "CPU of everything a saga",
        "per_second": "sagas a second",
    }
    for name, found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4)
        lines.append(f"{names[name]:<40} {middle:9.3f}   {low:.3f} to {high:.3f}")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.bench_overhead",
        description=__doc__,
        **ending(
            "python -m devstack.bench_overhead",
            "python -m devstack.bench_overhead --rounds 5 --clients 32",
            exits="0 measured, 1 it could not be measured, 2 wrong usage",
        ),
    )
    made.add_argument("--rounds", type=_count, default=20, metavar="N", help="pairs of rounds (default %(default)s)")
    made.add_argument(
        "--seconds", type=_seconds, default=2.0, metavar="S", help="seconds of each round (default %(default)g)"
    )
    made.add_argument("--warm-up", type=_seconds, default=2.0, metavar="S", help="seconds before (default %(default)g)")
    made.add_argument("--clients", type=_count, default=8, metavar="N", help="clients at once (default %(default)s)")
    made.add_argument(
        "--without",
        choices=SILENT,
        nargs="+",
        default=["metrics", "logs"],
        help="what the second does not do (default: both)",
    )
    made.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="database and logs (default %(default)s)")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    options.data = options.data.resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with only_one(options.data / "bench.lock"):
            began = time.monotonic()
            ratios = run(options)
    except (BenchError, LockHeldError, ProcessError, postgres.PostgresError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(shown(ratios))
    print(
        f"without {' and '.join(options.without)}; {options.rounds} pairs of rounds of {options.seconds:g} s "
        f"at {options.clients} clients, "
        f"{time.monotonic() - began:.0f} s in all"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
