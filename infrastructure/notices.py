"""Word of new work from PostgreSQL: `LISTEN saga_due` on a connection of its own, and a pipe that ends the wait."""

import contextlib
import logging
import os
import select
from typing import Any

import psycopg2
from django.db import connection

logger = logging.getLogger("saga")
RETRY = 1.0
"""Seconds until a lost connection is opened again; meanwhile work is found by looking for it."""


class PostgresNotices:
    """The `Notices` of one worker process; used by one thread, woken by any."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._listening: Any = None

    def wait(self, seconds: float) -> None:
        """See `Notices`."""
        if self._listening is None:
            self._listen()
        sources = [self._reader] if self._listening is None else [self._reader, self._listening]
        timeout = seconds if self._listening is not None else min(seconds, RETRY)
        ready, _, _ = select.select(sources, [], [], timeout)
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)
        if self._listening in ready:
            self._take()

    def wake(self) -> None:
        """See `Notices`."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._writer, b".")

    def close(self) -> None:
        """See `Notices`."""
        if self._listening is not None:
            self._listening.close()
        os.close(self._reader)
        os.close(self._writer)

    def _listen(self) -> None:
        try:
            parameters = {**connection.get_connection_params()}
            parameters.pop("cursor_factory", None)
            listening = psycopg2.connect(**parameters)
            listening.autocommit = True
            with listening.cursor() as cursor:
                cursor.execute("LISTEN saga_due")
        except psycopg2.Error as error:
            logger.warning("not listening for new work: %s", str(error).strip(), extra={"retry_in": RETRY})
            return
        self._listening = listening

    def _take(self) -> None:
        """One notice says as much as a hundred."""
        try:
            self._listening.poll()
            self._listening.notifies.clear()
        except psycopg2.Error as error:
            logger.warning("no longer listening for new work: %s", str(error).strip(), extra={"retry_in": 0})
            self._listening.close()
            self._listening = None
