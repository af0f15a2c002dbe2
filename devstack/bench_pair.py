"""What a part or a change costs: two orchestrators side by side, each with clients of its own at the same time.

`--telling` compares metrics and log lines with none, `--tracing` tracing with none, `--checkout DIR` this code with
another checkout of it, `--alike` two that are the same. Whatever else the machine does disturbs both of a pair at the
same moment. Two that are alike differ by some percent for as long as they live (where their memory lies, which of
gunicorn's workers a client reached, which was started first), so a pair is started several times, each time once in
either order, and each time gives one ratio. docs/benchmark.md explains it.
"""

import argparse
import contextlib
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from devstack import postgres
from devstack.bench import DATA, ROOT, SECONDS_TO_START, WSGI, Bench, BenchError, Load, _count, _seconds
from devstack.bench_measure import Stopwatch, children
from devstack.lock import LockHeldError, only_one
from devstack.processes import ProcessError, Processes, answers, free_port
from interfaces.command_help import ending
from interfaces.progress_bar import ProgressBar

SILENT = {"SAGA_METRICS": "False", "LOG_LEVEL": "CRITICAL", "OTEL_SDK_DISABLED": "true"}
AS_SHIPPED = {"SAGA_METRICS": "True", "LOG_LEVEL": "INFO", "OTEL_SDK_DISABLED": "true"}
"""Said in full, whatever the environment of this command says."""
SETTLE = 1.5
"""Seconds after a round in which what it left to be done later is done, and counted: spans wait up to a second."""
SECONDS_BETWEEN_SCRAPES = 5.0
"""As in monitoring/prometheus/prometheus.yml."""
FIRST_SCRAPES = 12
"""Before anything is measured: a process's first makes what it then only fills in, and each process has its own."""


@dataclass(frozen=True)
class Kind:
    """An orchestrator of the pair: where its code is, what its environment has besides, whether it is scraped."""

    directory: Path
    environment: dict[str, str]
    scraped: bool = False


@dataclass(frozen=True)
class Cost:
    """What one start measured: ms of CPU a saga."""

    first: float
    second: float
    shared: float
    """Of PostgreSQL, the participants and the clients, which serve both."""

    @classmethod
    def mean(cls, costs: Sequence["Cost"]) -> "Cost":
        """Of several."""
        return cls(*(statistics.fmean(each) for each in zip(*map(astuple, costs), strict=True)))

    @property
    def of_service(self) -> float:
        """The second's own to the first's own."""
        return self.second / self.first

    @property
    def of_all(self) -> float:
        """The same, with what a saga costs elsewhere."""
        return (self.second + self.shared) / (self.first + self.shared)


class One:
    """One of the two orchestrators, and the process of its clients."""

    def __init__(self, bench: Bench, processes: Processes, name: str, kind: Kind) -> None:
        port = free_port()
        command = ["env", "-C", str(kind.directory), sys.executable, "-m", "gunicorn", WSGI]
        command += ["--bind", f"127.0.0.1:{port}", "--config", "saga_service/gunicorn_conf.py"]
        metrics = bench.data / f"metrics-{name}"
        shutil.rmtree(metrics, ignore_errors=True)
        environment = {**bench.environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics), **kind.environment}
        self.pid = processes.start(name, command, environment)
        self.metrics, self.scraped = f"http://127.0.0.1:{port}/metrics/", kind.scraped
        processes.wait_until(name, lambda: answers(f"http://127.0.0.1:{port}/health"), SECONDS_TO_START)
        self.load = Load(port)


def kinds(options: argparse.Namespace, collector: str) -> tuple[Kind, Kind]:
    """What is compared; the second is the one that costs more, or is new."""
    if options.telling:
        return Kind(ROOT, SILENT), Kind(ROOT, AS_SHIPPED, scraped=True)
    traced = {"OTEL_SDK_DISABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": collector} if options.tracing else {}
    return Kind(options.checkout or ROOT, AS_SHIPPED), Kind(ROOT, {**AS_SHIPPED, **traced})


@contextlib.contextmanager
def scraped(one: One) -> Iterator[None]:
    """Prometheus' part while the block runs, from half a pause on. Raises BenchError when one is not answered."""
    if not one.scraped:
        yield
        return
    ended = threading.Event()
    answered: list[bool] = []

    def scrape() -> None:
        pause = SECONDS_BETWEEN_SCRAPES / 2
        while not ended.wait(pause):
            answered.append(answers(one.metrics))
            pause = SECONDS_BETWEEN_SCRAPES

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if not answered or not all(answered):
        raise BenchError(f"{one.metrics} was scraped {len(answered)} times, and answered {sum(answered)} times")


def measure(bench: Bench, both: tuple[Kind, Kind], options: argparse.Namespace, *, swapped: bool) -> Cost:
    """Start both, give them the same work at the same time, and end them."""
    with Processes(options.data / "logs", ROOT) as processes:
        names = ("second", "first") if swapped else ("first", "second")
        made = {name: One(bench, processes, name, both[name == "second"]) for name in names}
        first, second = made["first"], made["second"]
        # The clients end before the pool waits for them: so does a measurement that is interrupted.
        with ThreadPoolExecutor(2) as pool, first.load, second.load:

            def at_once(seconds: float) -> tuple[int, int]:
                """The sagas of both."""
                results = pool.map(lambda one: one.load.run(options.clients, seconds), (first, second))
                one, other = (int(result["sagas"]) for result in results)
                return one, other

            at_once(options.warm_up)
            for _ in range(FIRST_SCRAPES if second.scraped else 0):
                answers(second.metrics)
            stopwatch = Stopwatch(
                first=lambda: children(first.pid),
                second=lambda: children(second.pid),
                shared=lambda: [
                    *postgres.processes(bench.data / "postgres"),
                    bench.stub,
                    *first.load.processes(),
                    *second.load.processes(),
                ],
            )
            with scraped(second):
                done, other = at_once(options.seconds)
            time.sleep(SETTLE if options.tracing else 0)
            stopwatch.stop()
    spent = stopwatch.seconds
    return Cost(
        first=spent["first"] * 1000 / done,
        second=spent["second"] * 1000 / other,
        shared=spent["shared"] * 1000 / (done + other),
    )


def run(options: argparse.Namespace) -> list[Cost]:
    """Start everything, measure, end everything; also when it fails."""
    postgres.stop(options.data / "postgres", "immediate")
    shutil.rmtree(options.data / "logs", ignore_errors=True)
    try:
        with Processes(options.data / "logs", ROOT) as processes:
            bench = Bench(processes, WSGI, options.data)
            both = kinds(options, bench.stub_url)
            found: list[Cost] = []
            with ProgressBar("measuring", options.starts, "starts") as bar:
                for _ in range(options.starts):
                    pair = [measure(bench, both, options, swapped=swapped) for swapped in (False, True)]
                    found.append(Cost.mean(pair))
                    bar.advance(f"{found[-1].of_all:.3f}")
            return found
    finally:
        postgres.stop(options.data / "postgres", "immediate")


def report(found: Sequence[Cost]) -> str:
    """What the first costs, and the second's ratio to it: the median over the starts, and the quartiles."""
    lines = ["CPU of a saga              first, ms    ratio   quartiles"]
    for title, milliseconds, ratios in (
        ("the orchestrator", [cost.first for cost in found], [cost.of_service for cost in found]),
        ("with all else it needs", [cost.first + cost.shared for cost in found], [cost.of_all for cost in found]),
    ):
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        lines.append(f"{title:<26} {statistics.median(milliseconds):9.2f} {middle:8.3f}   {low:.3f} to {high:.3f}")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.bench_pair",
        description=__doc__,
        **ending(
            "python -m devstack.bench_pair --telling",
            "python -m devstack.bench_pair --tracing --starts 20",
            "python -m devstack.bench_pair --checkout ../before --clients 8",
            exits="0 measured, 1 it could not be measured, 2 wrong usage, 130 interrupted",
        ),
    )
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--telling", action="store_true", help="metrics, scraped, and log lines, against none of either")
    what.add_argument(
        "--tracing", action="store_true", help="tracing, to a collector that answers at once, against none"
    )
    what.add_argument("--checkout", type=Path, metavar="DIR", help="this code against another checkout of it")
    what.add_argument("--alike", action="store_true", help="this code against itself: what the measurement is worth")
    made.add_argument(
        "--clients", type=_count, default=1, metavar="N", help="clients of each of the two (default %(default)s)"
    )
    made.add_argument(
        "--starts", type=_count, default=8, metavar="N", help="starts, each in either order (default %(default)s)"
    )
    made.add_argument(
        "--seconds", type=_seconds, default=10.0, metavar="S", help="seconds of each measurement (default %(default)g)"
    )
    made.add_argument("--warm-up", type=_seconds, default=3.0, metavar="S", help="seconds before (default %(default)g)")
    made.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="database and logs (default .data/bench)")
    return made


def main(arguments: list[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    options.data = options.data.resolve()
    if options.telling and options.seconds < SECONDS_BETWEEN_SCRAPES:
        made.error(f"--telling: --seconds {options.seconds:g} is shorter than a scrape's {SECONDS_BETWEEN_SCRAPES:g}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with only_one(options.data / "bench.lock"):
            print(report(run(options)))
    except (BenchError, LockHeldError, ProcessError, postgres.PostgresError) as error:
        print(f"bench_pair: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(
        f"{options.starts} starts in either order, each measured for {options.seconds:g} s, "
        f"{options.clients} client(s) of each"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
