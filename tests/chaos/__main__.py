"""`make chaos`: the full run, then the proof that its invariants can fail. Exits with 1 when anything is wrong."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from interfaces.command_help import ending
from tests.chaos.report import Result, say
from tests.chaos.run import run
from tests.chaos.sizes import MUTATIONS, full

DATA = Path(__file__).parents[2] / ".data"


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kill, stop, cut, repeat and delay everything under load; then check that no saga is wrong.",
        **ending(
            "python -m tests.chaos",
            "python -m tests.chaos --sagas 500 --seed 7 --no-mutations",
            exits="0 passed, 1 something was wrong, 2 wrong usage, 130 interrupted",
        ),
    )
    made.add_argument("--sagas", type=int, default=5000, help="orders to place (default %(default)s)")
    made.add_argument("--seed", type=int, default=1, help="of all that is drawn (default %(default)s)")
    made.add_argument("--no-mutations", action="store_true", help="leave the proof with deliberate bugs out")
    made.add_argument("--data", type=Path, default=DATA, help="where a directory for the run is made (%(default)s)")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.sagas < 1:
        parser().error("--sagas must be at least 1")
    options.data.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="chaos-", dir=options.data))
    try:
        passed = _full_run(options.sagas, options.seed, directory / "full")
        if not options.no_mutations:
            for mutation in MUTATIONS:
                passed &= _is_caught(mutation, options.seed, directory / mutation)
    except KeyboardInterrupt:
        shutil.rmtree(directory)
        say("interrupted; everything that was started is ended")
        return 130
    if passed:
        shutil.rmtree(directory)
    else:
        say(f"see {directory}")
    say("passed" if passed else "FAILED")
    return 0 if passed else 1


def _full_run(sagas: int, seed: int, directory: Path) -> bool:
    result = run(full(sagas), seed, directory, talk=True)
    say(result.report())
    return result.passed


def _is_caught(mutation: str, seed: int, directory: Path) -> bool:
    """Whether the invariants tell that this deliberate bug is there."""
    result = run(MUTATIONS[mutation], seed, directory, mutation)
    rules = sorted({violation.rule for violation in result.violations})
    say(f"deliberate bug {mutation}: {_verdict(result)}" + "".join(f"\n  {rule}" for rule in rules))
    return bool(rules) and not result.missing


def _verdict(result: Result) -> str:
    if result.missing:
        return f"NOT MET by {', '.join(result.missing)}"
    count = len(result.violations)
    return f"found, {count} violations of" if count else "NOT FOUND"


if __name__ == "__main__":
    sys.exit(main())
