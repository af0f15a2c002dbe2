"""The harness's own way to PostgreSQL: direct, a new connection a question, so that no restart of it matters."""

import asyncio
import contextlib
import time
from typing import Any

import psycopg2

BETWEEN_LOOKS = 0.05


class Database:
    """Questions to the saga database. `url` is known once the server runs."""

    def __init__(self) -> None:
        self.url = ""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What PostgreSQL answers, at once or never."""
        connection = psycopg2.connect(self.url, connect_timeout=5)
        with contextlib.closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall()

    async def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The same from an event loop; nothing while PostgreSQL is away."""
        try:
            return await asyncio.to_thread(self.rows, statement, *values)
        except psycopg2.OperationalError:
            return []

    async def until(self, seconds: float, statement: str, *values: Any) -> bool:
        """Ask again and again; whether there was a row in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if await self.ask(statement, *values):
                return True
            await asyncio.sleep(BETWEEN_LOOKS)
        return False
