"""One run at a time in one data directory: a lock that ends with its holder, however that ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class LockHeldError(Exception):
    """Another process holds the lock."""

    def __init__(self, process: int) -> None:
        super().__init__(f"already running (process {process})")
        self.process = process


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file, with this process's id in it; raises LockHeldError at once when another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        if not _acquire(lock):
            raise LockHeldError(_owner(lock))
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(path: Path) -> int | None:
    """The process that holds the lock now."""
    if not path.exists():
        return None
    with path.open("a+") as lock:
        return None if _acquire(lock) else _owner(lock)


def _acquire(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(lock: TextIO) -> int:
    lock.seek(0)
    return int(lock.read() or 0)  # 0: it has the lock and has not written yet
