"""What queries and pages cost among a million finished sagas: `python -m devstack.scale`.

It fills a PostgreSQL of its own, once, with finished sagas of every workflow and their events, some rare ones among the
oldest, and some live ones. Then it measures: every query of the worker, of retention and of the API under
EXPLAIN (ANALYZE, BUFFERS), or pages over HTTP, or what viewers cost who wait for news. docs/scale.md explains it.
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
from devstack.options import at_least, more_than_0
from devstack.processes import ProcessError
from interfaces.progress_bar import ProgressBar

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".data" / "scale"
QUERY_ROUNDS = 5
VIEWED = ["/console/"]
FEWEST = 200
"""With fewer, the rare ones would be most of them."""
# What is filled in can be filled in again: nothing waits for the disk.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "shared_buffers": "512MB",
    "shared_preload_libraries": "pg_stat_statements",
}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    options.data = options.data.resolve()
    try:
        with only_one(options.data / "scale.lock"):
            return _run(options)
    except (LockHeldError, postgres.PostgresError, ProcessError) as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scale: interrupted; the next run goes on with what is filled", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    directory = options.data / "postgres"
    os.environ |= {"DATABASE_URL": postgres.ensure_running(directory, settings=SETTINGS), "DEBUG": "True"}
    kept = False
    try:
        _set_up_django()
        _fill(options.sagas, options.parked)
        well = _measure(options)
        kept = options.keep
    finally:
        if not kept:
            postgres.stop(directory, "fast")
    if kept:
        _say_how_to_use(directory)
    if options.delete:
        shutil.rmtree(directory)
    return 0 if well else 1


def _set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    import django  # noqa: PLC0415 - it reads the environment that was just set
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("migrate", verbosity=0)


def _fill(sagas: int, parked: int) -> None:
    from devstack import scale_data  # noqa: PLC0415 - it needs Django's settings

    with ProgressBar("filling", sagas, "sagas") as bar:
        scale_data.ensure(sagas, bar.at)
    scale_data.park(parked)
    print(scale_data.sizes())


def _measure(options: argparse.Namespace) -> bool:
    """What was asked for; whether it was well."""
    from devstack import scale_pages, scale_viewers  # noqa: PLC0415 - they need Django's settings

    well = True
    if options.pages is not None:
        well &= scale_pages.measure(options.data, options.pages, options.rounds or scale_pages.ROUNDS, options.within)
    if options.viewers:
        well &= scale_viewers.measure(options.data, options.viewed, options.viewers, options.seconds, options.every)
    if options.pages is None and not options.viewers and not options.keep:
        _measure_queries(options.rounds or QUERY_ROUNDS)
    return well


def _measure_queries(rounds: int) -> None:
    from devstack import scale_queries  # noqa: PLC0415 - it needs Django's settings

    print("\n| query | ms | pages | read through |\n| --- | ---: | ---: | --- |")
    for name, plans in scale_queries.measured(rounds):
        print(_row(name, plans), flush=True)


def _row(name: str, plans: list[Any]) -> str:
    median = statistics.median(plan.milliseconds for plan in plans)
    last = plans[-1]
    reads = [*(f"all of {table}" for table in last.whole), *last.scans]
    return f"| {name} | {median:.2f} | {last.buffers:,} | {', '.join(reads)} |"


def _say_how_to_use(directory: Path) -> None:
    url = os.environ["DATABASE_URL"]
    serve = "gunicorn saga_service.wsgi:application --config saga_service/gunicorn_conf.py --bind 127.0.0.1:8009"
    print(
        f"\nThe database goes on running:\n  DATABASE_URL={url}\nServe it:\n"
        f"  DEBUG=True DATABASE_URL={url} {Path(sys.executable).parent}/{serve}\nEnd it:\n"
        f"  {sys.executable} -m devstack.postgres stop --directory {directory}"
    )


EPILOG = """\
Filled once, used again by every later run; a run that is interrupted goes on where it was.

examples:
  python -m devstack.scale                                     # every query
  python -m devstack.scale --pages                             # the API's and the console's pages
  python -m devstack.scale --pages '/console/?status=STUCK' --rounds 200
  python -m devstack.scale --viewers 50 --seconds 30 --viewed /console/trouble/
  python -m devstack.scale --viewers 40 --viewed '/console/sagas/{id}/'   # each another finished saga
  python -m devstack.scale --keep                              # leave PostgreSQL running, to serve it yourself

exit status: 0 well; 1 a page was slow, failed or read a large table whole, a viewer was not answered, or it could not
be measured; 2 wrong usage; 130 interrupted.
"""


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.scale",
        description="What queries, pages and viewers cost among many sagas: a million with ten million events.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole, seconds = at_least(1), more_than_0
    made.add_argument(
        "--sagas", type=at_least(FEWEST), default=1_000_000, metavar="N", help="finished ones (default %(default)s)"
    )
    made.add_argument(
        "--parked", type=at_least(400), default=400, metavar="N", help="sagas that are parked (default %(default)s)"
    )
    made.add_argument(
        "--pages",
        nargs="*",
        metavar="PATH",
        help="measure these pages over HTTP instead of the queries; {id} in a path is a finished saga, {parked} a "
        "parked one (default: the API's and the console's main pages; one that is not there is reported as absent)",
    )
    made.add_argument(
        "--within",
        type=seconds,
        default=100.0,
        metavar="MS",
        help="milliseconds that a page may take at the median (default %(default)g)",
    )
    made.add_argument(
        "--rounds",
        type=whole,
        metavar="N",
        help=f"measurements of each query or page (default {QUERY_ROUNDS}; pages 50)",
    )
    made.add_argument("--viewers", type=whole, metavar="N", help="measure so many who watch pages while no saga moves")
    made.add_argument(
        "--seconds", type=seconds, default=10.0, metavar="S", help="that they watch (default %(default)g)"
    )
    made.add_argument(
        "--every", type=seconds, default=2.0, metavar="S", help="seconds between two looks of one (default %(default)g)"
    )
    made.add_argument(
        "--viewed",
        nargs="+",
        default=VIEWED,
        metavar="PATH",
        help="what they watch, shared out among them; {id} is another finished saga for each; a stream is held open "
        f"(default {' '.join(VIEWED)})",
    )
    made.add_argument("--keep", action="store_true", help="leave the database running, and say how to serve it")
    made.add_argument(
        "--data",
        type=Path,
        default=DATA,
        metavar="DIR",
        help="where it is kept (default .data/scale; a million need about 6 GB)",
    )
    made.add_argument("--delete", action="store_true", help="delete the data at the end")
    return made


def _options(arguments: list[str] | None) -> argparse.Namespace:
    options = parser().parse_args(arguments)
    if options.keep and options.delete:
        parser().error("--keep and --delete exclude each other")
    return options


if __name__ == "__main__":
    sys.exit(main())
