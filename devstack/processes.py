"""Child processes that end with their starter: each in a session of its own, its output in a log file."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self
from urllib.request import ProxyHandler, build_opener

POLL_SECONDS = 0.02
SECONDS_TO_STOP = 8.0
LOG_LINES = 15

_direct = build_opener(ProxyHandler({}))  # a proxy from the environment has no business with 127.0.0.1


class ProcessError(Exception):
    """A process did not start, died, or did not become healthy; the message holds the end of its log."""


class Processes:
    """Started in order, stopped in reverse order. Use as a context manager: leaving it ends all of them."""

    def __init__(self, logs: Path, directory: Path) -> None:
        self._logs, self._directory = logs, directory
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: list[str], environment: Mapping[str, str]) -> int:
        """Start a process and return its id.

        Its own session keeps the terminal's Ctrl-C from it: only its starter decides when it ends. Where Linux
        allows, the kernel ends it too when the starter is killed. (Call this from the main thread: the kernel
        watches the thread that started the process.)
        """
        with self.log(name).open("wb") as log:
            self._started[name] = subprocess.Popen(
                [*_dying_with_starter(), *command],
                cwd=self._directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._started[name].pid

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def wait_until(self, name: str, healthy: Callable[[], bool], seconds: float) -> None:
        """Poll until healthy; raises ProcessError when the process ends or the time is over before."""
        deadline = time.monotonic() + seconds
        while not healthy():
            self.check(name)
            if time.monotonic() > deadline:
                raise ProcessError(f"{name} is not healthy after {seconds:.0f} s\n{self._last_words(name)}")
            time.sleep(POLL_SECONDS)
        self.check(name)  # what answered may have been another program on the same port

    def check(self, name: str) -> None:
        status = self._started[name].poll()
        if status is not None:
            raise ProcessError(f"{name} ended with status {status}\n{self._last_words(name)}")

    def check_all(self) -> None:
        for name in self._started:
            self.check(name)

    def stop(self) -> None:
        """End all, the last started first; what is left of a group after its time is killed."""
        while self._started:
            process = self._started.popitem()[1]
            if process.poll() is None:
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_STOP)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join([f"the last lines of {self.log(name)}:", *(f"  {line}" for line in lines)])


def _dying_with_starter() -> list[str]:
    setpriv = shutil.which("setpriv")  # util-linux; with TERM, so that nginx and gunicorn end their workers too
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def answers(url: str) -> bool:
    """Whether a GET is answered with 2xx within two seconds."""
    try:
        with _direct.open(url, timeout=2):
            return True
    except OSError:
        return False


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
