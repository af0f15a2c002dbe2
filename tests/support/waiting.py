"""Waiting for what real processes do in their own time."""

import time
from collections.abc import Callable
from typing import Any

SECONDS = 60.0


def until(condition: Callable[[], Any], what: object, seconds: float = SECONDS) -> Any:
    """Ask again and again; the first true value is the answer. `what` is said, or called and said, when time is up."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.1)
    return found
