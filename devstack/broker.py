"""An embedded message broker: the server of the `pulsar-lite` wheel, which speaks Apache Pulsar's protocol.

One directory is one broker: `data.rocksdb/` (topics and subscriptions), `port`, `pid`, `broker.log`, `lock`. It runs
on as a daemon when its starter ends, keeps its port over restarts, and keeps what it acknowledged over a kill -9.
A keeper runs it: of a client that was killed with messages on their way it would keep the consumers for good, and give
nobody else their messages; so it is started anew then, which takes a tenth of a second and which clients bear.
For development and tests; production has a Pulsar cluster. docs/messaging.md says what it cannot do.
`python -m devstack.broker start|stop|status --directory .data/broker`
"""

import argparse
import contextlib
import fcntl
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from devstack.processes import accepts, free_port, is_free
from interfaces.command_help import ending

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED_PORT = 6650  # Pulsar's own; the same as in docker-compose.yml
DEFAULT_DIRECTORY = ROOT / ".data" / "broker"
SECONDS_TO_START = 20.0
SECONDS_TO_STOP = 8.0
POLL_SECONDS = 0.02
LOG_LINES = 8
# Its metrics listen on every address unless told otherwise; nobody reads them, so the port may be any.
CLIENT_LOST = re.compile(r"Connection error from .*\(os error")
CONFIGURATION = '[metrics]\naddr = "127.0.0.1:0"\n'


class BrokerError(Exception):
    """The embedded broker cannot be started or stopped; the message says what to do."""


def ensure_running(directory: Path, port: int | None = None) -> str:
    """The URL of the running broker of this directory, which is started where it is not yet.

    `port` matters to a broker that has to be started; without one it takes that of its last start, and at first, for
    the project's own directory, Pulsar's own, each if free, else any free port.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory):
        if not is_running(directory):
            kill(directory)  # alive, but it does not answer
            _start(directory, port or _usual_port(directory))
        return f"pulsar://127.0.0.1:{_kept(directory / 'port')}"


def stop(directory: Path) -> None:
    """End the broker, if it runs."""
    directory = directory.resolve()
    if not directory.exists():
        return
    with _lock(directory):
        process = pid(directory)
        if process is None:
            return
        os.kill(process, signal.SIGTERM)  # the keeper ends the broker
        if not _ended(directory, SECONDS_TO_STOP):
            kill(directory)


def kill(directory: Path) -> None:
    """End the broker as a crash would. Returns when it is gone."""
    process = pid(directory.resolve())
    if process is not None:
        os.killpg(process, signal.SIGKILL)
        if not _ended(directory.resolve(), SECONDS_TO_STOP):
            raise BrokerError(f"process {process} cannot be killed")


def is_running(directory: Path) -> bool:
    """Whether this directory's broker is alive and answers."""
    directory = directory.resolve()
    port = _kept(directory / "port")
    return pid(directory) is not None and port is not None and accepts(port)


def pid(directory: Path) -> int | None:
    """The keeper of this directory's broker, and the id of their process group; None when they do not run."""
    directory = directory.resolve()
    process = _kept(directory / "pid")
    if process is None:
        return None
    asked = subprocess.run(
        ["ps", "-ww", "-o", "stat=,args=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    alive = asked.stdout.strip()
    return process if alive and not alive.startswith("Z") and f"serve --directory {directory} " in f"{alive} " else None


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(directory: Path, port: int) -> None:
    if not is_free(port):
        raise BrokerError(f"port {port} is taken by another program: end it, or give --port another")
    (directory / "port").write_text(str(port))
    (directory / "pid").write_text(str(_daemon(directory)))
    deadline = time.monotonic() + SECONDS_TO_START
    while not accepts(port):
        if pid(directory) is None:
            raise BrokerError(f"the broker ended at once\n{_last_words(directory)}")
        if time.monotonic() > deadline:
            kill(directory)
            raise BrokerError(f"the broker does not answer after {SECONDS_TO_START:.0f} s\n{_last_words(directory)}")
        time.sleep(POLL_SECONDS)


def _daemon(directory: Path) -> int:
    """Nobody's child, so that it runs on when its starter ends, and nobody has to collect it."""
    _program()  # said here if it is not installed
    command = [sys.executable, "-m", "devstack.broker", "serve", "--directory", str(directory)]
    shell = ["sh", "-c", '"$@" >"$0/broker.log" 2>&1 & echo $!', str(directory), *command]
    started = subprocess.run(
        shell, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, start_new_session=True
    )
    return int(started.stdout)


def _serve(directory: Path) -> int:
    """The keeper: runs the broker until told to stop, or until it ends by itself."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, _end)
    configuration = directory / "pulsar-lite.toml"
    configuration.write_text(CONFIGURATION)
    command = [str(_program()), "--config", str(configuration), "--addr", f"127.0.0.1:{_kept(directory / 'port')}"]
    command += ["--db-path", str(directory / "data"), "--log-level", "warn"]
    status = None
    while status is None:
        process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        status = _watch(process)
    return status


def _watch(process: subprocess.Popen[str]) -> int | None:
    """Pass its log on until it ends; its status, or None when it was ended here, because it lost a client."""
    lost = False
    for line in process.stdout or ():
        print(line, end="", flush=True)
        if not lost and CLIENT_LOST.search(line):
            lost = True
            process.terminate()
    status = process.wait()
    return None if lost else status


def _end(*_: object) -> None:
    """End the whole group, and wait for it: the next broker of this directory needs its files."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    sys.exit()


def _ended(directory: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while pid(directory) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _last_words(directory: Path) -> str:
    lines = (directory / "broker.log").read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join([f"the last lines of {directory / 'broker.log'}:", *(f"  {line}" for line in lines)])


def _kept(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _usual_port(directory: Path) -> int:
    wanted = _kept(directory / "port") or (PUBLISHED_PORT if directory == DEFAULT_DIRECTORY else None)
    if wanted is not None and is_free(wanted):
        return wanted
    return free_port()


def _program() -> Path:
    found = importlib.util.find_spec("pulsar_lite")
    if found is None or not found.submodule_search_locations:
        raise BrokerError("pulsar-lite is not installed: pip install -r requirements-run.txt, or set BROKER_URL")
    return Path(found.submodule_search_locations[0]) / "bin" / "pulsar-lite"


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.broker",
        description="The embedded message broker of the project.",
        **ending(
            "python -m devstack.broker start",
            "python -m devstack.broker status",
            "python -m devstack.broker stop",
            exits="0 well (status: it runs), 1 it could not be done, 2 wrong usage, 3 status: it does not run",
        ),
    )
    made.add_argument(
        "command", choices=["start", "stop", "status", "serve"], help="what to do; serve is what start runs"
    )
    made.add_argument(
        "--directory",
        type=Path,
        default=DEFAULT_DIRECTORY,
        metavar="DIR",
        help="whose server it is (default %(default)s)",
    )
    made.add_argument(
        "--port",
        type=int,
        metavar="PORT",
        help=f"where it listens (default: that of the last start, else {PUBLISHED_PORT} if free)",
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.command == "serve":  # by `start` only
        return _serve(options.directory)
    try:
        if options.command == "start":
            print(ensure_running(options.directory, options.port))
        elif options.command == "stop":
            stop(options.directory)
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    if options.command == "status":
        running = is_running(options.directory)
        print("running" if running else "stopped")
        return 0 if running else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
