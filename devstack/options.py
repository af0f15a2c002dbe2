"""Numbers on the command line of these programs: what is none is refused in a sentence."""

import argparse
import contextlib
from collections.abc import Callable

MOST = 1_000_000_000


def at_least(fewest: int) -> Callable[[str], int]:
    """A whole number from here on."""

    def read(text: str) -> int:
        if not text.isdecimal() or not fewest <= int(text) <= MOST:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {fewest} on")
        return int(text)

    return read


def more_than_0(text: str) -> float:
    """A number above 0."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < MOST:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
