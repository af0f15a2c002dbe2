"""gunicorn's settings: threads for synchronous sagas, keep-alive beyond the gateway's, metrics of all processes."""

import os
import sys
from pathlib import Path
from typing import Any

from prometheus_client import multiprocess

from infrastructure.logging import handler
from infrastructure.process_numbers import MASTER
from saga_service import configuration

try:
    environment = configuration.read()
except configuration.ConfigurationError as wrong:
    sys.exit(str(wrong))  # here, and not as the trace of each worker that cannot start

bind = "0.0.0.0:8009"
worker_class = "saga_service.worker.SagaWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# A thread is a saga under way, mostly waiting for a participant; each has its own database connection.
threads = int(os.environ.get("WEB_THREADS", "16"))
# The gateway keeps idle connections for 60 s; whoever closes first loses requests, and it must not be us.
keepalive = 75
# gunicorn would put its control socket where every gunicorn of this user does.
control_socket_disable = True
# A synchronous saga may take its wait budget and one call's timeout.
timeout = 60
graceful_timeout = 40
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "infrastructure.logging.JsonFormatter"}},
    "handlers": {"lines": handler(environment.log_file)},
    "root": {"handlers": ["lines"], "level": "WARNING"},
    "loggers": {"gunicorn.error": {"level": "INFO", "propagate": True, "handlers": []}},
}


def on_starting(server: Any) -> None:  # noqa: ARG001 - gunicorn's hook
    """Empty the metrics of an earlier life: their processes are gone and their ids are used again."""
    os.environ[MASTER] = str(os.getpid())
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
        for left_over in Path(directory).glob("*.db"):
            left_over.unlink()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's hook
    """Keep the counters of a worker that has gone, drop its gauges."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)
