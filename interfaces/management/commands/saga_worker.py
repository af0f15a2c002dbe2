"""The worker: takes over the sagas whose driver is gone, whose retry is due, or that were never begun."""

import logging
import os
import signal
import socket
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection

from application.bulk import BulkRunner
from application.messages import Inbox
from application.ports import Claimed, Lease, Message, Verdict
from application.recovery import claim_due, drive
from application.trace_context import joined
from domain.exceptions import BrokerUnavailable, SagaError, StoreUnavailable
from interfaces.correlation import about
from interfaces.platform import Messaging, Platform, platform
from interfaces.saga_command import SagaCommand

logger = logging.getLogger("saga")
BEAT_EVERY = timedelta(seconds=2)
"""Between two reports that the worker is at work."""
TURN_WAIT = 0.02
"""Seconds that a saga waits for its turn at a busy participant before the thread takes another saga."""
SUBSCRIPTION = "saga-orchestrator"
OUTBOX_EVERY = 0.1
"""Seconds between two looks into an empty outbox."""
BROKER_RETRY = 1.0
TOPICS_EVERY = 5.0
"""Seconds between two looks whether a workflow waits on another topic."""
REMEDIES_AT_ONCE = 2
"""A slow one must not hold up all others."""
REMEDY_EVERY = 1.0
"""Seconds between two looks for a bulk remedy."""
ROLL_UP_EVERY, ROLL_UP_AT_ONCE = 2.0, 1000
"""Seconds between two looks for endings to count, and how many are counted by one statement."""
LONGEST_POLL = 10.0
"""Seconds; a worker reports with each look, and one that is silent for longer counts as gone."""
MOMENT = 0.05
"""Seconds after which to look again for work that is due and that another worker has in hand."""


class Command(SagaCommand):
    """`python manage.py saga_worker`: runs until SIGTERM or SIGINT, and finishes or hands back what it holds."""

    help = "Take over due sagas (expired leases, retries, asynchronous starts) and drive them. Several may run at once."
    examples = ("saga_worker", "saga_worker --threads 32 --metrics-port 9109 --metrics-host 0.0.0.0")
    exits = (
        "0 told to stop (SIGTERM, Ctrl-C) and finished or handed back what it held, 1 it could not start, 2 wrong usage"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument("--threads", type=int, default=16, metavar="N", help="sagas driven at once (default 16)")
        parser.add_argument(
            "--poll",
            type=float,
            default=2.0,
            metavar="SECONDS",
            help="seconds between looks for due work without notice (default 2)",
        )
        parser.add_argument(
            "--metrics-port",
            type=int,
            metavar="PORT",
            help="serve this process's metrics on this port (default: nowhere)",
        )
        parser.add_argument(
            "--metrics-host", default="127.0.0.1", metavar="ADDRESS", help="address of the metrics (default 127.0.0.1)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Work until told to stop."""
        if options["threads"] < 1 or not 0 < options["poll"] <= LONGEST_POLL:
            raise CommandError(
                f"--threads must be 1 or more, and --poll more than 0 and at most {LONGEST_POLL} seconds."
            )
        built = platform()
        built.prepare()
        if options["metrics_port"]:
            built.serve_metrics(options["metrics_host"], options["metrics_port"])
        worker = Worker(built, options["threads"], options["poll"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()


class Worker:
    """The loop of one worker process."""

    def __init__(self, built: Platform, threads: int, poll: float) -> None:
        self._engine, self._heartbeat = built.engine, built.heartbeat
        built.bulkhead(threads // 2, TURN_WAIT)
        self._operations, self._bulk = built.operations, built.bulk
        self._statistics = built.statistics
        self._messaging = built.messaging()
        self._notices = built.notices()
        self._threads, self._poll = threads, poll
        self._stop = threading.Event()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._started_at = self._engine.clock.now()
        self._slots = threading.Semaphore(threads)
        self._beat_at = self._started_at - BEAT_EVERY

    def stop(self) -> None:
        """End `run` when what is under way has come to a checkpoint. A signal may call this."""
        self._stop.set()
        self._notices.wake()

    def run(self) -> None:
        """Claim what there are free threads for, until told to stop; then finish it or hand it back."""
        logger.info("worker started", extra={"worker": self._name, "threads": self._threads})
        aside = [threading.Thread(target=self._apply_remedies, name=f"bulk-{n}") for n in range(REMEDIES_AT_ONCE)]
        aside.append(threading.Thread(target=self._roll_up, name="rollup"))
        if self._messaging:
            aside.append(threading.Thread(target=self._send_messages, args=[self._messaging], name="outbox"))
            aside.append(threading.Thread(target=self._take_messages, args=[self._messaging], name="inbox"))
        for thread in aside:
            thread.start()
        with ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="saga") as pool:
            while not self._stop.is_set():
                pause = self._work(pool)
                if pause:
                    self._notices.wait(pause)
            logger.info("worker stopping", extra={"worker": self._name})
        for thread in aside:
            thread.join()
        self._heartbeat.forget(self._name, self._engine.clock.now())
        self._notices.close()
        logger.info("worker stopped", extra={"worker": self._name})

    def _work(self, pool: ThreadPoolExecutor) -> float:
        """One look for due work; in how many seconds to look again unless woken before.

        The outermost loop: whatever fails is logged, and goes on.
        """
        try:
            self._report()
            free = self._take_slots()
            if not free:
                return self._poll  # whoever finishes wakes us
            try:
                lease, claimed = claim_due(self._engine, free)
            finally:
                self._give_slots(free)
            for one in claimed:
                self._slots.acquire()
                pool.submit(self._drive, one, lease)
            return 0 if claimed else self._until_due()
        except (DatabaseError, StoreUnavailable) as error:
            reason = str(error.__cause__ or error).strip()
            logger.error("the worker cannot look for work", extra={"reason": reason, "retry_in": self._poll})  # noqa: TRY400
        except Exception:
            logger.exception("the worker could not look for work", extra={"retry_in": self._poll})
        close_old_connections()
        return self._poll

    def _until_due(self) -> float:
        """Seconds until the next saga is due, a poll at most; a moment when another worker is just taking one."""
        due_at = self._engine.store.next_due()
        left = self._poll if due_at is None else (due_at - self._engine.clock.now()).total_seconds()
        return min(max(left, MOMENT), self._poll)

    def _drive(self, claimed: Claimed, lease: Lease) -> None:
        try:
            with about(joined(claimed.saga)):
                self._drive_logged(claimed, lease)
        finally:
            close_old_connections()
            self._slots.release()
            self._notices.wake()

    def _drive_logged(self, claimed: Claimed, lease: Lease) -> None:
        try:
            drive(self._engine, claimed, lease, self._stop.is_set)
        except SagaError as error:
            logger.warning("saga left to its lease", extra={"reason": str(error)})
        except Exception:
            logger.exception("driving a saga failed; its lease will expire")

    def _apply_remedies(self) -> None:
        """What people asked to be done to whole groups, in a thread of its own: it only stores, and calls nobody."""
        # Each thread is an owner of its own: one stopped for longer than its lease must not pass for the other.
        owner = f"{self._name}:{threading.current_thread().name}"
        runner = BulkRunner(self._operations, self._bulk, owner, self._stop.wait)
        while not self._stop.is_set():
            try:
                if runner.run_one():
                    continue
            except Exception as error:  # noqa: BLE001 - the outermost loop: whatever fails is logged, and goes on
                logger.warning("a bulk remedy was interrupted", extra={"reason": str(error).strip()})
            close_old_connections()
            self._stop.wait(REMEDY_EVERY)

    def _roll_up(self) -> None:
        """What statistics are read from, in a thread of its own; with several workers one at a time does it."""
        while not self._stop.is_set():
            try:
                if self._statistics.roll_up(self._engine.clock.now(), ROLL_UP_AT_ONCE) == ROLL_UP_AT_ONCE:
                    continue
            except Exception as error:  # noqa: BLE001 - the outermost loop: whatever fails is logged, and goes on
                logger.warning("endings could not be counted", extra={"reason": str(error).strip()})
                close_old_connections()
            self._stop.wait(ROLL_UP_EVERY)

    def _send_messages(self, messaging: Messaging) -> None:
        """The outbox, in a thread of its own: it waits for the broker, and for nobody else."""
        while not self._stop.is_set():
            pause = OUTBOX_EVERY
            try:
                if messaging.relay.send_some():
                    continue
            except BrokerUnavailable:
                pause = BROKER_RETRY  # the bus has said so; the messages wait
            except Exception as error:  # noqa: BLE001 - the outermost loop: whatever fails is logged, and goes on
                logger.warning("the outbox could not be emptied", extra={"reason": str(error).strip()})
                close_old_connections()
                pause = BROKER_RETRY
            self._stop.wait(pause)

    def _take_messages(self, messaging: Messaging) -> None:
        """What sagas wait for, in a thread of its own. A workflow published meanwhile may wait on another topic."""
        while not self._stop.is_set():
            try:
                topics = list(messaging.topics())
                if topics:
                    until = _UntilChanged(self._stop, lambda known=topics: list(messaging.topics()) != known)
                    messaging.subscriber.consume(topics, SUBSCRIPTION, partial(_taken, messaging.inbox), until)
            except Exception as error:  # noqa: BLE001 - as above
                logger.warning("messages could not be taken", extra={"reason": str(error).strip()})
                close_old_connections()
            self._stop.wait(BROKER_RETRY)

    def _take_slots(self) -> int:
        taken = 0
        while taken < self._threads and self._slots.acquire(blocking=False):
            taken += 1
        return taken

    def _give_slots(self, count: int) -> None:
        for _ in range(count):
            self._slots.release()

    def _report(self) -> None:
        now = self._engine.clock.now()
        if now - self._beat_at >= BEAT_EVERY:
            self._heartbeat.beat(self._name, self._started_at, now)
            self._beat_at = now


def _taken(inbox: Inbox, message: Message) -> Verdict:
    """What becomes of a message. A database that is away is the fault of none: this one comes again when it is back."""
    try:
        return inbox.handle(message)
    except (OperationalError, InterfaceError) as error:
        logger.warning("messages wait for the database", extra={"reason": str(error).strip()})
        connection.close()
        return Verdict.AWAY


class _UntilChanged(threading.Event):
    """Set when the process stops, or when what is asked now and then says so."""

    def __init__(self, stop: threading.Event, changed: Callable[[], bool]) -> None:
        super().__init__()
        self._process, self._changed = stop, changed
        self._look_at = monotonic() + TOPICS_EVERY

    def is_set(self) -> bool:
        """Whether to end."""
        if self._process.is_set() or super().is_set():
            return True
        if monotonic() >= self._look_at:
            self._look_at = monotonic() + TOPICS_EVERY
            if self._changed():
                self.set()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the process to stop."""
        self._process.wait(timeout)
        return self.is_set()
