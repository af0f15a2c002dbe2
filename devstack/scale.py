"""What the queries cost among a million finished sagas: `python -m devstack.scale`.

It fills a PostgreSQL of its own with finished sagas and their events, some rare ones among the oldest, and some live
ones, runs every query of the worker, of retention and of the API under EXPLAIN (ANALYZE, BUFFERS), and prints what each
touched. docs/scale.md explains it. The data are kept for the next run, unless `--delete` says otherwise.
"""

import argparse
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from devstack import postgres
from devstack.lock import LockHeldError, only_one

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".data" / "scale"
CHUNK = 20_000
"""Sagas in one transaction of the filling."""
FEWEST = 200
"""With fewer, the rare ones would be most of them."""
# What is filled in can be filled in again: nothing waits for the disk.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "max_wal_size": "4GB", "shared_buffers": "512MB"}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    options.data = options.data.resolve()
    try:
        with only_one(options.data / "scale.lock"):
            return _run(options)
    except (LockHeldError, postgres.PostgresError) as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    directory = options.data / "postgres"
    os.environ |= {"DATABASE_URL": postgres.ensure_running(directory, settings=SETTINGS), "DEBUG": "True"}
    try:
        _set_up_django()
        from devstack import scale_data, scale_queries  # noqa: PLC0415 - they need Django's settings

        scale_data.ensure(options.sagas, options.events_per_saga, CHUNK, _progress)
        print(f"{scale_data.sizes()}\n\n| query | ms | pages | read through |\n| --- | ---: | ---: | --- |")
        for name, plans in scale_queries.measured(options.rounds):
            print(_row(name, plans), flush=True)
    finally:
        postgres.stop(directory, "fast")
    if options.delete:
        shutil.rmtree(directory)
    return 0


def _set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    import django  # noqa: PLC0415 - it reads the environment that was just set
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("migrate", verbosity=0)


def _progress(done: int, of: int) -> None:
    end = "\n" if done >= of else ""
    print(f"\rfilling: {done:,} of {of:,} sagas ", end=end, file=sys.stderr, flush=True)


def _row(name: str, plans: list[Any]) -> str:
    median = statistics.median(plan.milliseconds for plan in plans)
    last = plans[-1]
    reads = [*(f"all of {table}" for table in last.whole), *last.scans]
    return f"| {name} | {median:.2f} | {last.buffers:,} | {', '.join(reads)} |"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.scale", description="What the queries cost among many finished sagas."
    )
    parser.add_argument("--sagas", type=int, default=1_000_000, help="finished ones (default 1000000)")
    parser.add_argument("--events-per-saga", type=int, default=10, help="default 10")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each query (default 5)")
    parser.add_argument("--data", type=Path, default=DATA, help="default .data/scale: a million need about 7 GB")
    parser.add_argument("--delete", action="store_true", help="delete the data at the end")
    options = parser.parse_args(arguments)
    if options.sagas < FEWEST or options.events_per_saga < 1 or options.rounds < 1:
        parser.error(f"--sagas must be {FEWEST} or more, --events-per-saga and --rounds 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
