"""Ends everything that a run started when the run itself is gone, however it went.

`python -m tests.chaos.guard <marker> <directory>` waits until its standard input ends: the run holds the
other end, so the kernel closes it when the run ends or is killed. What belongs to the run carries its marker in its
environment.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from devstack import broker, postgres
from tests.chaos.drivers import marked

POSTGRES, BROKER = "postgres", "broker"
"""Where each is in the directory of a run."""
SECONDS = 10.0


def end(marker: str, directory: Path) -> list[int]:
    """Kill what carries the marker, and the servers of this directory; what is left after some seconds."""
    with contextlib.suppress(broker.BrokerError):
        broker.kill(directory / BROKER)
    with contextlib.suppress(postgres.PostgresError):
        postgres.stop(directory / POSTGRES, "immediate")
    until = time.monotonic() + SECONDS
    while (left := marked(marker)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return left


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(sys.argv[1], Path(sys.argv[2]))
