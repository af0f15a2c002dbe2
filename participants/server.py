"""Serves one service with gunicorn: one process of many threads, JSON log lines, and a stop that is immediate."""

import ctypes
import logging
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from pythonjsonlogger.json import JsonFormatter

from participants import ledger
from participants.database import Database, create
from participants.faults import Faults
from participants.messaging import SCHEMA, Messaging
from participants.service import Service
from participants.web import Application
from saga_barrier import Barrier

MEMORY: Final = ":memory:"
PR_SET_PDEATHSIG: Final = 1

SETTINGS: Final[dict[str, Any]] = {
    "workers": 1,
    "worker_class": "gthread",
    # Longer than the gateway keeps idle connections (60 s): whoever closes first must be the gateway, for it would
    # send a POST into a connection that is just being closed, and could not tell whether it was done.
    "keepalive": 75,
    # Running calls may take this long to end when the service stops.
    "graceful_timeout": 1,
    "control_socket_disable": True,
    "loglevel": "error",
}


class JsonLogger(Logger):
    """Each line is one JSON object: gunicorn's and the service's own."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        formatter = JsonFormatter("%(levelname)s %(name)s %(message)s", timestamp=True)
        service, bus = logging.getLogger("participants"), logging.getLogger("saga.bus")
        service.setLevel(logging.INFO)
        bus.setLevel(logging.INFO)
        for logger in (service, bus):
            logger.handlers = [logging.StreamHandler()]
            logger.propagate = False
        for logger in (self.error_log, self.access_log, service, bus):
            for handler in logger.handlers:
                handler.setFormatter(formatter)


@dataclass(frozen=True, slots=True)
class Options:
    host: str
    port: int
    database: str
    threads: int
    faults: bool
    access_log: bool
    broker: str | None = None


class Server(BaseApplication):
    """A gunicorn that is told everything here, not by files or the environment."""

    def __init__(self, service: Service, options: Options) -> None:
        self._service, self._options = service, options
        self._scratch = tempfile.mkdtemp(prefix="participant-") if options.database == MEMORY else None
        self._path = Path(self._scratch or ".") / (f"{service.name}.sqlite3" if self._scratch else options.database)
        self._messaging: Messaging | None = None
        super().__init__()

    def load_config(self) -> None:
        options = self._options
        own = {
            "bind": f"{options.host}:{options.port}",
            "threads": options.threads,
            "logger_class": JsonLogger,
            "accesslog": "-" if options.access_log else None,
            "when_ready": self._when_ready,
            "post_fork": _die_with_parent,
            "worker_exit": self._on_worker_exit,
            "on_exit": self._on_exit,
        }
        for name, value in {**SETTINGS, **own}.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        """In the process that serves, where threads may be started."""
        faults, database = Faults() if self._options.faults else None, Database(self._path)
        if self._speaks and self._options.broker:
            self._messaging = Messaging(self._service.listens, database, self._options.broker, faults)
            self._messaging.start()
        return Application(self._service, database, faults)

    def run(self) -> None:
        schemas = (Barrier.schema("sqlite"), ledger.SCHEMA, *([SCHEMA] if self._speaks else []), self._service.schema)
        create(self._path, schemas, self._service.seed)
        super().run()

    def _when_ready(self, _: object) -> None:
        # gunicorn's quick stop is SIGQUIT. Its SIGTERM waits for idle connections, which a gateway keeps for long.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGQUIT))
        where = f"http://{self._options.host}:{self._options.port}"
        broker = f", broker {self._options.broker or 'none'}" if self._speaks else ""
        print(f"{self._service.name}: {where}, database {self._path}{broker}", flush=True)

    @property
    def _speaks(self) -> bool:
        return self._service.sends or self._service.listens is not None

    def _on_worker_exit(self, _: object, __: object) -> None:
        if self._messaging:
            self._messaging.stop()

    def _on_exit(self, _: object) -> None:
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _die_with_parent(_: object, __: object) -> None:
    """A killed service must not go on answering: Linux ends the worker with its parent, gunicorn a second later."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
