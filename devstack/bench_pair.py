"""What a change costs: two orchestrators side by side, on one database, measured in turns.

`--tracing` compares tracing with none; `--checkout DIR` this code with another checkout of it, which comes first. A
machine that is busy with something else disturbs both of a pair alike, so the ratio of each pair is what counts, and
the median of these is shown. docs/benchmark.md explains it.
"""

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from devstack import postgres
from devstack.bench import CLIENTS, DATA, ROOT, SECONDS_TO_START, WSGI, Bench, BenchError, Load, _count, _seconds
from devstack.bench_measure import Stopwatch, children
from devstack.lock import LockHeldError, only_one
from devstack.processes import ProcessError, Processes, answers, free_port
from interfaces.command_help import ending

SETTLE = 1.5
"""Seconds after a round in which what it left to be done later is done, and counted: spans wait up to a second."""
SHOWN = {"sagas/s": "per_second", "p50 ms": "p50_ms", "gunicorn": "cpu_gunicorn_ms", "all CPU": "cpu_all_ms"}


class One:
    """One of the two orchestrators, and the process of its clients."""

    def __init__(self, bench: Bench, name: str, directory: Path, *, tracing: bool = False) -> None:
        port = free_port()
        command = ["env", "-C", str(directory), sys.executable, "-m", "gunicorn", WSGI, "--bind", f"127.0.0.1:{port}"]
        command += ["--config", "saga_service/gunicorn_conf.py"]
        metrics = bench.data / f"metrics-{name}"
        shutil.rmtree(metrics, ignore_errors=True)
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": bench.stub_url} if tracing else {}
        environment = {**bench.environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics), **more}
        self._bench, self._pid = bench, bench.processes.start(name, command, environment)
        bench.processes.wait_until(name, lambda: answers(f"http://127.0.0.1:{port}/health"), SECONDS_TO_START)
        self._settle = SETTLE if tracing else 0.0
        self.load = Load(port)

    def round(self, clients: int, seconds: float) -> dict[str, float]:
        """Sagas a second and what each cost."""
        stopwatch = Stopwatch(
            gunicorn=lambda: children(self._pid),
            postgres=lambda: postgres.processes(self._bench.data / "postgres"),
            participants=lambda: [self._bench.stub],
            load=self.load.processes,
        )
        result = self.load.run(clients, seconds)
        time.sleep(self._settle)
        stopwatch.stop()
        cpu = {f"cpu_{group}_ms": spent * 1000 / result["sagas"] for group, spent in stopwatch.seconds.items()}
        return {**result, "per_second": result["sagas"] / result["elapsed"], **cpu, "cpu_all_ms": sum(cpu.values())}


def measure(options: argparse.Namespace, bench: Bench) -> dict[int, list[tuple[dict[str, float], dict[str, float]]]]:
    """The pairs of rounds, by the number of clients."""
    first = One(bench, "first", options.checkout or ROOT)
    second = One(bench, "second", ROOT, tracing=options.tracing)
    pairs: dict[int, list[Any]] = {clients: [] for clients in options.clients}
    with first.load, second.load:
        for one in (first, second):
            one.round(max(options.clients), options.warm_up)
        for number in range(options.rounds):
            for clients in options.clients:
                turn = (first, second) if number % 2 == 0 else (second, first)
                found = {one: one.round(clients, options.seconds) for one in turn}
                pairs[clients].append((found[first], found[second]))
    return pairs


def report(pairs: dict[int, list[Any]]) -> str:
    """A line for each number of clients: the medians of both, and of the pairs' ratios the median and the quartiles."""
    lines = [f"| clients | {' | '.join(SHOWN)} |", f"| ---: | {' | '.join('---:' for _ in SHOWN)} |"]
    for clients, found in pairs.items():
        cells = []
        for key in SHOWN.values():
            one, other = (statistics.median(pair[place][key] for pair in found) for place in (0, 1))
            low, ratio, high = statistics.quantiles([pair[1][key] / pair[0][key] for pair in found], n=4)
            cells.append(f"{one:.2f}, {other:.2f}: {ratio:.3f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {clients} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> str:
    """Start everything, measure, end everything; also when it fails."""
    postgres.stop(options.data / "postgres", "immediate")
    shutil.rmtree(options.data / "logs", ignore_errors=True)
    try:
        with Processes(options.data / "logs", ROOT) as processes:
            return report(measure(options, Bench(processes, WSGI, options.data)))
    finally:
        postgres.stop(options.data / "postgres", "immediate")


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.bench_pair",
        description=__doc__,
        **ending(
            "python -m devstack.bench_pair --tracing --clients 8",
            "python -m devstack.bench_pair --checkout ../before --rounds 40",
            exits="0 measured, 1 it could not be measured, 2 wrong usage, 130 interrupted",
        ),
    )
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--tracing", action="store_true", help="tracing, to a collector that answers at once, against none"
    )
    what.add_argument("--checkout", type=Path, metavar="DIR", help="this code against another checkout of it")
    made.add_argument(
        "--clients",
        type=_count,
        nargs="+",
        default=list(CLIENTS),
        metavar="N",
        help="clients at once, one measurement for each number (default 1 8 32)",
    )
    made.add_argument("--rounds", type=_count, default=20, metavar="N", help="pairs of rounds (default %(default)s)")
    made.add_argument(
        "--seconds", type=_seconds, default=1.0, metavar="S", help="seconds of each round (default %(default)g)"
    )
    made.add_argument(
        "--warm-up",
        type=_seconds,
        default=4.0,
        metavar="S",
        help="seconds before, of each of the two (default %(default)g)",
    )
    made.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="database and logs (default .data/bench)")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    options.data = options.data.resolve()
    try:
        with only_one(options.data / "bench.lock"):
            print(run(options))
    except (BenchError, LockHeldError, ProcessError, postgres.PostgresError) as error:
        print(f"bench_pair: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
