"""What is dear to read is read again only after a rest that is as long as the reading was dear."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

CHEAP = 0.05
"""Seconds; what is read faster is read every time."""
RATHER_REST, LONGEST_REST = 20.0, 10.0
"""It rests so many times as long as the reading took, and so many seconds at most."""

T = TypeVar("T")


class Seldom(Generic[T]):
    """`get()` reads, or gives what was read last while that rests. One thread reads, the others wait for it."""

    def __init__(self, read: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def get(self) -> T:
        """What is to be read, some seconds old at most."""
        with self._lock:
            begun = self._clock()
            if self._kept and begun < self._kept[0]:
                return self._kept[1]
            found = self._read()
            ended = self._clock()
            took = ended - begun
            self._kept = (ended + min(took * RATHER_REST, LONGEST_REST), found) if took > CHEAP else None
            return found

    def forget(self) -> None:
        """Read it next time."""
        with self._lock:
            self._kept = None
