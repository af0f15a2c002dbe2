"""The worker: takes over the sagas whose driver is gone, whose retry is due, or that were never begun."""

import logging
import os
import signal
import socket
import threading
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections
from prometheus_client import start_http_server

from application.ports import Claimed, Lease
from application.recovery import claim_due, drive
from domain.exceptions import SagaError
from interfaces.platform import Platform, platform

logger = logging.getLogger("saga")
BEAT_EVERY = 2.0
"""Seconds between two reports that the worker is at work."""


class Command(BaseCommand):
    """`python manage.py saga_worker`: runs until SIGTERM or SIGINT, and finishes what it holds before it ends."""

    help = "Take over due sagas (expired leases, retries, asynchronous starts) and drive them. Several may run at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument("--threads", type=int, default=8, help="sagas driven at once (default 8)")
        parser.add_argument("--poll", type=float, default=0.5, help="seconds between looks for due work (default 0.5)")
        parser.add_argument("--metrics-port", type=int, help="serve this process's metrics on this port")
        parser.add_argument("--metrics-host", default="127.0.0.1", help="address of the metrics (default 127.0.0.1)")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Work until told to stop."""
        if options["metrics_port"]:
            start_http_server(options["metrics_port"], addr=options["metrics_host"])
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        Worker(platform(), options["threads"], options["poll"], stop).run()


class Worker:
    """The loop of one worker process."""

    def __init__(self, built: Platform, threads: int, poll: float, stop: threading.Event) -> None:
        self._engine, self._heartbeat = built.engine, built.heartbeat
        self._threads = threads
        self._poll = poll
        self._stop = stop
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._started_at = datetime.now(UTC)
        self._slots = threading.Semaphore(threads)
        self._beat_at = 0.0

    def run(self) -> None:
        """Claim what there are free threads for, until told to stop; then finish it."""
        logger.info("worker started", extra={"worker": self._name, "threads": self._threads})
        with ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="saga") as pool:
            while not self._stop.is_set():
                if not self._work(pool):
                    self._stop.wait(self._poll)
        self._heartbeat.forget(self._name, datetime.now(UTC))
        logger.info("worker stopped", extra={"worker": self._name})

    def _work(self, pool: ThreadPoolExecutor) -> int:
        """One look for due work; how many sagas it took. The outermost loop: whatever fails is logged, and goes on."""
        try:
            self._report()
            free = self._take_slots()
            try:
                lease, claimed = claim_due(self._engine, free) if free else (None, [])
            finally:
                self._give_slots(free)
            for one in claimed:
                self._slots.acquire()
                pool.submit(self._drive, one, lease)
        except Exception:
            logger.exception("the worker could not look for work; it tries again")
            close_old_connections()
            return 0
        return len(claimed)

    def _drive(self, claimed: Claimed, lease: Lease) -> None:
        saga_id = str(claimed.saga.id)
        try:
            drive(self._engine, claimed, lease)
        except SagaError as error:
            logger.warning("saga left to its lease", extra={"saga_id": saga_id, "reason": str(error)})
        except Exception:
            logger.exception("driving a saga failed; its lease will expire", extra={"saga_id": saga_id})
        finally:
            close_old_connections()
            self._slots.release()

    def _take_slots(self) -> int:
        taken = 0
        while taken < self._threads and self._slots.acquire(blocking=False):
            taken += 1
        return taken

    def _give_slots(self, count: int) -> None:
        for _ in range(count):
            self._slots.release()

    def _report(self) -> None:
        now = datetime.now(UTC)
        if now.timestamp() - self._beat_at >= BEAT_EVERY:
            self._heartbeat.beat(self._name, self._started_at, now)
            self._beat_at = now.timestamp()
