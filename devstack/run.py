"""`make run`: the whole product on this machine, without Docker and without root.

Starts the embedded PostgreSQL, the participants, the development gateway, the orchestrator and its worker, waits
until all are well, runs one order through the gateway, shows its history, and serves until Ctrl-C. Everything that
it starts ends with it; data and logs are in `.data/`.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from devstack import broker, postgres
from devstack.first_order import OrderError, place_order, where_to_look
from devstack.lock import LockHeldError, holder, only_one
from devstack.processes import ProcessError, Processes, is_free
from devstack.stack import ROOT, Part, PortError, Ports, Stack, variable
from domain.exceptions import SagaError
from domain.workflows import shipped_definitions
from interfaces.command_help import ending

LOCK = "run.lock"
WORKFLOWS = ROOT / "domain" / "workflows"
SECONDS_TO_START = 60
SECONDS_TO_STOP = 40
SECONDS_BETWEEN_CHECKS = 0.5
SECONDS_FOR_PORTS = 3  # what an earlier run left may be on its way out
DATABASE_VARIABLES = ("DATABASE_URL", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD")


class RunError(Exception):
    """The stack cannot run; the message says why and what to do."""


def run(stack: Stack) -> None:
    """Start everything and serve; returns by KeyboardInterrupt or by an error, with everything ended."""
    with only_one(stack.data / LOCK), contextlib.ExitStack() as ending:
        _require_sound_workflows()
        _require_free_ports(stack.ports)
        database = ending.enter_context(_database(stack))
        bus = ending.enter_context(_broker(stack))
        processes = ending.enter_context(Processes(stack.data / "logs", ROOT))
        for part in [*_start(stack, processes, database, bus), stack.readiness()]:
            processes.wait_until(part.name, part.is_healthy, SECONDS_TO_START)
            _say(part.name, part.health)
        place_order(stack)
        where_to_look(stack)
        while True:
            processes.check_all()
            time.sleep(SECONDS_BETWEEN_CHECKS)


def _start(stack: Stack, processes: Processes, database: Mapping[str, str], bus: Mapping[str, str]) -> list[Part]:
    """Whatever needs no database starts while it is migrated."""
    first = [*stack.participants(bus), stack.development_gateway()]
    _launch(processes, first)
    _migrate(stack, database, processes.log("migrate"))
    _empty(stack.metrics)
    needed = {**database, **bus}
    second = [stack.orchestrator(needed), stack.worker(needed)]
    _launch(processes, second)
    return first + second


def _launch(processes: Processes, parts: list[Part]) -> None:
    for part in parts:
        processes.start(part.name, part.command, part.environment)


def _require_sound_workflows() -> None:
    """A definition that is wrong would only stop a process later, with a trace for a sentence."""
    try:
        shipped_definitions()
    except SagaError as error:
        raise RunError(str(error)) from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [frame for frame in frames if Path(frame.filename).is_relative_to(WORKFLOWS)]
        told = isinstance(error, SyntaxError) or not inside
        where = "" if told else f" ({Path(inside[-1].filename).relative_to(ROOT)}, line {inside[-1].lineno})"
        raise RunError(f"a workflow cannot be read: {type(error).__name__}: {error}{where}") from error


def _require_free_ports(ports: Ports) -> None:
    """Every port but the database's and the broker's, which may be running already."""
    deadline = time.monotonic() + SECONDS_FOR_PORTS
    needed = {name: port for name, port in vars(ports).items() if name not in {"postgres", "broker"}}
    while taken := {name: port for name, port in needed.items() if not is_free(port)}:
        if time.monotonic() > deadline:
            named = ", ".join(f"port {port} ({name})" for name, port in taken.items())
            alone = " ".join(f"{variable(name)}=..." for name in taken)
            raise RunError(
                f"{named} {'is' if len(taken) == 1 else 'are'} taken by another program: end that, or choose others: "
                f'`make run RUN="--base-port 9000"` for all, `make run {alone}` for these'
            )
        time.sleep(0.05)


@contextlib.contextmanager
def _database(stack: Stack) -> Iterator[dict[str, str]]:
    """The database that the environment names, or the embedded one, which stops at the end."""
    if os.environ.get("DATABASE_URL") or os.environ.get("DB_HOST"):
        _say("database", "the one that the environment names")
        yield {name: os.environ[name] for name in DATABASE_VARIABLES if name in os.environ}
        return
    directory = stack.data / "postgres"
    try:
        url = postgres.ensure_running(directory, stack.ports.postgres if is_free(stack.ports.postgres) else None)
        _say("database", url)
        yield {"DATABASE_URL": url}
    finally:
        postgres.stop(directory)


@contextlib.contextmanager
def _broker(stack: Stack) -> Iterator[dict[str, str]]:
    """The broker that the environment names, or the embedded one, which stops at the end."""
    if url := os.environ.get("BROKER_URL"):
        _say("broker", "the one that the environment names")
        yield {"BROKER_URL": url}
        return
    directory = stack.data / "broker"
    try:
        url = broker.ensure_running(directory, stack.ports.broker if is_free(stack.ports.broker) else None)
        _say("broker", url)
        yield {"BROKER_URL": url}
    finally:
        broker.stop(directory)


def _migrate(stack: Stack, database: Mapping[str, str], log: Path) -> None:
    command = [sys.executable, "manage.py", "migrate", "--no-input"]
    with log.open("w") as output:
        environment = stack.settings(database)
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise RunError(f"migrate failed:\n{log.read_text()}")
    _say("migrated", str(log))


def _empty(directory: Path) -> None:
    """What the processes of an earlier run counted would be added to what these count."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def _say(name: str, what: str) -> None:
    print(f"  {name:<14} {what}", flush=True)


def stop(data: Path) -> None:
    """End the run of this data directory, wherever it was started, and its PostgreSQL."""
    process = holder(data / LOCK)
    if process:
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while holder(data / LOCK):
            if time.monotonic() > deadline:
                raise RunError(f"process {process} has not ended after {SECONDS_TO_STOP} s")
            time.sleep(0.05)
    broker.stop(data / "broker")
    postgres.stop(data / "postgres")


def _interrupt(*_: object) -> None:
    """The first signal ends the run; more of them do not disturb the ending."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"\nstopping\n")  # at once, whatever is being printed
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.run",
        description="Run the whole product here.",
        **ending(
            "python -m devstack.run",
            "python -m devstack.run --base-port 9000",
            "python -m devstack.run --stop",
            exits="0 ended by Ctrl-C, or stopped, 1 it could not run (a sentence says why), 2 wrong usage",
        ),
    )
    made.add_argument(
        "--data", type=Path, default=ROOT / ".data", metavar="DIR", help="databases, logs and the lock (default .data)"
    )
    made.add_argument(
        "--base-port", type=int, metavar="PORT", help="all ports in a row from here (default: the published ones)"
    )
    made.add_argument("--stop", action="store_true", help="end the run of this data directory")
    return made


def _options(arguments: list[str] | None) -> argparse.Namespace:
    options = parser().parse_args(arguments)
    try:
        options.ports = None if options.stop else Ports.of(os.environ, options.base_port)
    except PortError as error:
        parser().error(str(error))
    return options


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    data = options.data.resolve()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if options.stop:
            stop(data)
        else:
            run(Stack(options.ports, data))
    except KeyboardInterrupt:
        print("stopped", flush=True)
    except LockHeldError as error:
        print(f"run: {error} with {data}: Ctrl-C there, or `make stop`", file=sys.stderr)
        return 1
    except (RunError, OrderError, ProcessError, postgres.PostgresError, broker.BrokerError) as error:
        print(f"\nrun: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
