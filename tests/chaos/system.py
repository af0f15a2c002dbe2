"""The system under test: its real processes, with fault proxies before participants, PostgreSQL and the broker."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import SystemRandom
from typing import Any, Self
from uuid import uuid4

from devstack import broker, postgres
from devstack.processes import POLL_SECONDS, ProcessError, Processes, answers, is_free
from tests.chaos import guard
from tests.chaos.database import Database
from tests.chaos.drivers import PROC, Drivers, children
from tests.chaos.faults import Fault
from tests.chaos.gateway import FaultGateway
from tests.chaos.messages import Audience, BrokerProxy, MessageFaults
from tests.chaos.plan import Plan, Tally
from tests.chaos.wire import WireProxy

ROOT = Path(__file__).parents[2]
WORKERS = ("worker-1", "worker-2")
OWN_KEY = "s3cret-of-the-chaos-run"
SECRETS = {
    "SECRET_KEY": "s3cret-of-django-0001",
    "KONG_API_KEY": "s3cret-of-the-gateway-0002",
    "GATEWAY_SHARED_SECRET": "s3cret-that-the-gateway-adds-0003",
}
SECONDS_TO_START = 60.0


class Loop:
    """An event loop in a thread of its own, for the proxies."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 30.0) -> Any:
        """Do it there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do it there."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        # Closing a connection takes tasks of its own, and one may just have been accepted: until there are none.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)  # what was closed is let go in the next turn
        await self._loop.shutdown_default_executor()


def lasting_ports(*names: str) -> dict[str, int]:
    """A free port for each, below those that the kernel gives to clients: one that is closed for a moment stays free.

    Others may choose here too, so the choice is random.
    """
    lowest = int((PROC / "sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = SystemRandom().sample(range(10240, lowest), 200)
    return dict(zip(names, filter(is_free, candidates), strict=False))


class System:
    """All processes of one run. Use as a context manager, in the main thread; leaving it ends all of them."""

    def __init__(self, directory: Path, plan: Plan, tally: Tally, mutation: str | None = None) -> None:
        self.directory, self.plan, self.tally = directory, plan, tally
        self.database = Database()
        self.services = sorted({service for workload in plan.workloads for service in workload.services})
        self.speaks = any(workload.speaks for workload in plan.workloads)
        self.ports = lasting_ports(
            *self.services, "api", "gateway", "wire", "postgres", *(("broker_proxy", "broker") if self.speaks else ())
        )
        self.drivers = Drivers(self.driver_pids)
        self._mutation = mutation
        self._marker = f"CHAOS_RUN={uuid4().hex}"
        self._pids: dict[str, int] = {}
        self._commands: dict[str, tuple[str, ...]] = {}
        self._processes = Processes(directory / "logs", ROOT)
        self._loop = Loop()
        self.message_faults = MessageFaults(tally, self.ports)
        self.gateway = FaultGateway(plan, tally, self.drivers, self.database, self.ports, self.message_faults)
        self.broker_proxy = BrokerProxy(tally, self.ports)
        self.audience: Audience | None = None
        self.wire = WireProxy(plan, tally, self.drivers, self.ports)

    # --- life and death -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.chaos.guard", self._marker, str(self.directory)]
        self._guard = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything the hard way: what was to be read has been read."""
        self.drivers.stopped.clear()
        try:
            if self.audience:
                self.audience.stop()
            left = guard.end(self._marker, self.directory)
        finally:
            self._processes.stop()
            assert self._guard.stdin
            self._guard.stdin.close()
            self._guard.wait()
            self._loop.run(self.gateway.close())
            self._loop.run(self.wire.close())
            self._loop.run(self.broker_proxy.close())
            self._loop.close()
        assert not left, f"processes that cannot be ended: {left}"

    def _start(self) -> None:
        self.start_postgres()
        self._loop.run(self.wire.open())
        self._loop.run(self.gateway.open())
        if self.speaks:
            self.audience = Audience(self.start_broker())
            self._loop.run(self.broker_proxy.open())
        for name in self.services:
            self._start_participant(name)
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env=self._environment(), check=True)
        for name in self.services:
            self._wait(name, lambda port=self.ports[name]: answers(f"http://127.0.0.1:{port}/health"))
        self.start_drivers()

    def start_drivers(self) -> None:
        """gunicorn with its two processes, and two workers; returns when the API answers."""
        if self._mutation:
            serve, work = ["tests.chaos.mutant:application"], ["-m", "tests.chaos.mutant", "saga_worker"]
        else:
            serve, work = ["saga_service.wsgi:application"], ["manage.py", "saga_worker"]
        serve = ["-m", "gunicorn", *serve, "--config", "saga_service/gunicorn_conf.py"]
        self._run("gunicorn", *serve, "--bind", f"127.0.0.1:{self.ports['api']}")
        for name in WORKERS:
            self._run(name, *work)
        self._wait("gunicorn", lambda: answers(f"http://127.0.0.1:{self.ports['api']}/health"))

    def tend(self) -> None:
        """Start again what has died and has no parent that would do it."""
        for name in (*WORKERS, *self.services):
            if not self._is_alive(name):
                self._run(name, *self._commands[name])
        self._processes.check("gunicorn")  # its processes are its own to replace

    # --- faults of whole parts ----------------------------------------------------------------------------------

    def restart_postgres(self, mode: str) -> None:
        self.stop_postgres(mode)
        self.start_postgres()

    def stop_postgres(self, mode: str) -> None:
        postgres.stop(self._postgres_directory, mode)

    def start_postgres(self) -> None:
        # Killed processes lose nothing without fsync, only a machine that loses its power does.
        self.database.url = postgres.ensure_running(
            self._postgres_directory, self.ports["postgres"], settings={"fsync": "off"}
        )

    def start_broker(self) -> str:
        """As a command, so that the broker carries the run's mark; returns its URL."""
        where = ["--directory", str(self.directory / guard.BROKER), "--port", str(self.ports["broker"])]
        command = [sys.executable, "-m", "devstack.broker", "start", *where]
        started = subprocess.run(
            command, cwd=ROOT, env=self._environment(), stdout=subprocess.PIPE, text=True, check=True
        )
        return started.stdout.strip()

    def kill_broker(self) -> None:
        broker.kill(self.directory / guard.BROKER)

    def cut_broker(self, seconds: float) -> None:
        """Every connection to the broker breaks, and no new one is accepted for a moment."""
        self._loop.start(self.broker_proxy.cut(seconds))

    def kill_participant(self, name: str) -> None:
        self._kill(name)
        self.tally.count(Fault.PARTICIPANT_KILLED)

    def kill_everything(self) -> None:
        """gunicorn, its processes, both workers, PostgreSQL and the broker, as a power cut would; all stays down."""
        for name in ("gunicorn", *WORKERS):
            self._kill(name)
        if self.speaks:
            self.kill_broker()
        self.stop_postgres("immediate")
        self.drivers.stopped.clear()

    def refuse(self, seconds: float) -> None:
        """The gateway's port is closed for a moment."""
        self._loop.start(self.gateway.refuse(seconds))

    def settle(self) -> None:
        """Deliver what the gateway still holds back."""
        self._loop.run(self.gateway.settle())

    # --- processes ----------------------------------------------------------------------------------------------

    @property
    def gunicorn(self) -> int:
        """The process that starts the others, and drives nothing itself."""
        return self._pids["gunicorn"]

    def driver_pids(self) -> list[int]:
        """The processes that drive sagas, gunicorn's first."""
        return [*children(self.gunicorn), *(self._pids[name] for name in WORKERS)]

    def logs(self) -> str:
        """What all lives of all processes have written."""
        return "".join(log.read_text(errors="replace") for log in sorted((self.directory / "logs").glob("*.log")))

    @property
    def _postgres_directory(self) -> Path:
        return self.directory / guard.POSTGRES

    def _run(self, name: str, *arguments: str) -> None:
        """Start a process under this name, again if need be; every life of it has a log of its own."""
        self._commands[name] = arguments
        log = self._processes.log(name)
        if log.exists():
            log.rename(log.with_suffix(f".{time.time_ns()}.log"))
        self._pids[name] = self._processes.start(name, [sys.executable, *arguments], self._environment())

    def _start_participant(self, name: str) -> None:
        port, database = str(self.ports[name]), str(self.directory / f"{name}.sqlite3")
        where = ("--host", "127.0.0.1", "--port", port, "--database", database)
        self._run(name, "-m", "participants", name, *where, "--faults")

    def _wait(self, name: str, healthy: Callable[[], bool]) -> None:
        self._processes.wait_until(name, healthy, SECONDS_TO_START)

    def _kill(self, name: str) -> None:
        """Kill it and its children, at once; returns when it is gone."""
        if self._is_alive(name):
            os.killpg(self._pids[name], signal.SIGKILL)
        while self._is_alive(name):
            time.sleep(POLL_SECONDS)

    def _is_alive(self, name: str) -> bool:
        try:
            self._processes.check(name)
        except ProcessError:
            return False
        return True

    def _environment(self) -> dict[str, str]:
        product = ("DB_", "DJANGO_", "DEBUG", "PROMETHEUS_", "SAGA_", "KONG_", "WEB_", "DATABASE_", "MAX_RETRIES")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(product)}
        marker, _, value = self._marker.partition("=")
        return {
            **{name: value for name, value in kept.items() if not name.endswith("_URL")},
            **SECRETS,
            marker: value,
            "DATABASE_URL": f"postgresql://saga@127.0.0.1:{self.ports['wire']}/saga",
            "KONG_GATEWAY_URL": f"http://127.0.0.1:{self.ports['gateway']}",
            "SAGA_CASHOUT_RATE": "0",  # one caller sends them all
            "SAGA_API_KEYS": f"chaos:saga-operator:{OWN_KEY}",
            "ALLOWED_HOSTS": "127.0.0.1",
            "CHAOS_MUTATION": self._mutation or "",
            **({"BROKER_URL": f"pulsar://127.0.0.1:{self.ports['broker_proxy']}"} if self.speaks else {}),
        }
