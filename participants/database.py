"""One SQLite file a service: a connection a thread, kept open, and one writer at a time."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

BUSY_SECONDS: Final = 15.0

Seed = tuple[tuple[str, Iterable[tuple[Any, ...]]], ...]
"""Statements, each with the rows to run it for."""


class Database:
    """Safe to share between threads; each gets its own connection when it first asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.local()
        # SQLite would let waiting writers poll; a lock hands over at once, and in turn.
        self._writing = threading.Lock()

    def cursor(self) -> sqlite3.Cursor:
        """For reading: each statement sees what is committed."""
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = connect(self._path)
        return connection.cursor()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """For writing: all of it is kept when the block ends, none of it when the block raises."""
        cursor = self.cursor()
        with self._writing:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    # NORMAL with WAL: nothing is lost when the process dies; the last commits may be when the machine does.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def create(path: Path, schemas: Iterable[str], seed: Seed) -> None:
    """Make the file, its tables and its seed; a file that is there already keeps what it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for schema in schemas:
            connection.executescript(schema)
        connection.execute("BEGIN IMMEDIATE")
        for statement, rows in seed:
            connection.executemany(statement, rows)
        connection.execute("COMMIT")
