"""The barrier: each call of a saga leaves a row, and the row decides what a later call may do.

A row says *what is settled* (``operation``: the do or the undo of a call) and *who settled it* (``cause``). A do
that finds its row taken by a do repeats that answer; taken by an undo or by an inquiry, it came too late. An undo
takes the do's row as well as its own, so that a do still under way is waited for and one still to come is barred.

The table's unique key serialises calls that arrive at once: in PostgreSQL the second insert waits until the first
transaction ends, in SQLite ``BEGIN IMMEDIATE`` lets in one writer at a time.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

Dialect = Literal["postgresql", "sqlite"]
Operation = Literal["do", "undo"]
Cause = Literal["do", "undo", "inquire"]

LONGEST_KEY: Final = 255
FIRST_REFUSAL: Final = 400
FIRST_FAILURE: Final = 500


class BarrierError(Exception):
    """The barrier is used in a way in which it could not protect anything."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered: an HTTP status and a JSON object; 4xx is a refusal, with nothing done."""

    status: int
    body: dict[str, Any]
    replayed: bool = field(default=False, compare=False)
    """True when this is the remembered answer of an earlier call, not of one that just ran."""

    @property
    def refused(self) -> bool:
        return self.status >= FIRST_REFUSAL


TOO_LATE: Final = Answer(
    409, {"code": "call_was_undone", "detail": "This call was undone, or reported as not done, before it arrived."}
)
NOTHING_TO_UNDO: Final = Answer(200, {"outcome": "nothing_to_undo"})
NOT_DONE: Final = Answer(200, {"outcome": "not_done"})


class Cursor(Protocol):
    """The part of a DB-API cursor that the barrier needs (sqlite3, psycopg 2 and 3, Django's)."""

    @property
    def connection(self) -> Any: ...
    @property
    def rowcount(self) -> int: ...
    def execute(self, query: str, parameters: tuple[Any, ...] = ..., /) -> Any: ...
    def fetchone(self) -> Any: ...


_CLAIM = "INSERT INTO saga_barrier (call_key, operation, cause) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_KEEP = "UPDATE saga_barrier SET status = ?, body = ? WHERE call_key = ? AND operation = ?"
_RECALL = "SELECT cause, status, body FROM saga_barrier WHERE call_key = ? AND operation = ?"


class Barrier:
    """Guards the calls of one service; every method is one call inside a transaction that the service has begun.

    ``key`` is always the *do* call's Idempotency-Key. Exceptions of an effect pass through: roll back, and nothing
    is remembered, so that the caller may try again.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._in_transaction = _TRANSACTION_CHECKS[dialect]
        mark = "%s" if dialect == "postgresql" else "?"
        self._claim_sql, self._keep_sql, self._recall_sql = (
            statement.replace("?", mark) for statement in (_CLAIM, _KEEP, _RECALL)
        )

    @staticmethod
    def schema(dialect: Dialect) -> str:
        """The table's definition; create it with the service's own tables, in the same database."""
        return Path(__file__).with_name(f"schema.{dialect}.sql").read_text(encoding="utf-8")

    def do(self, cursor: Cursor, key: str, effect: Callable[[], Answer]) -> Answer:
        """Run the effect once, whatever the number of calls, and answer all of them alike.

        An effect that answers 4xx refuses: its writes are rolled back, and the refusal is what repeats answer.
        """
        self._check(cursor, key)
        if not self._claim(cursor, key, "do", "do"):
            return self._done(cursor, key) or TOO_LATE
        cursor.execute("SAVEPOINT saga_effect")
        answer = _certain(effect())
        if answer.refused:
            cursor.execute("ROLLBACK TO SAVEPOINT saga_effect")
        cursor.execute("RELEASE SAVEPOINT saga_effect")
        self._keep(cursor, key, "do", answer)
        return answer

    def undo(self, cursor: Cursor, key: str, effect: Callable[[Answer], Answer]) -> Answer:
        """Run the effect, with the do's answer, if that do was done and not undone yet.

        Where nothing was done (never called, or refused) there is nothing to undo: 200, and a do that is still on
        its way will be refused. An effect that answers 4xx leaves no trace, so the undo can be tried again.
        """
        self._check(cursor, key)
        self._claim(cursor, key, "do", "undo")
        done = self._done(cursor, key)
        cursor.execute("SAVEPOINT saga_effect")
        if not self._claim(cursor, key, "undo", "undo"):
            cursor.execute("RELEASE SAVEPOINT saga_effect")
            return self._remembered(cursor, key, "undo")[1]
        answer = NOTHING_TO_UNDO if done is None or done.refused else _certain(effect(done))
        if answer.refused:
            cursor.execute("ROLLBACK TO SAVEPOINT saga_effect")
        else:
            self._keep(cursor, key, "undo", answer)
        cursor.execute("RELEASE SAVEPOINT saga_effect")
        return answer

    def inquire(self, cursor: Cursor, key: str) -> Answer:
        """Tell whether the do was done (and is not undone); ``not_done`` settles it: a late do is refused."""
        self._check(cursor, key)
        if self._claim(cursor, key, "do", "inquire"):
            return NOT_DONE
        done = self._done(cursor, key)
        if done is None or done.refused:
            return NOT_DONE
        return Answer(200, {**done.body, "outcome": "done"})

    def _check(self, cursor: Cursor, key: str) -> None:
        if not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
            raise BarrierError(f"A call's key is 1 to {LONGEST_KEY} printable characters, not {key!r}")
        if not self._in_transaction(cursor.connection):
            raise BarrierError("Begin a transaction first: the effect and its row must be kept or lost together")

    def _claim(self, cursor: Cursor, key: str, operation: Operation, cause: Cause) -> bool:
        """Settle this operation if nobody has; waits for whoever is settling it at this moment."""
        cursor.execute(self._claim_sql, (key, operation, cause))
        return cursor.rowcount == 1

    def _keep(self, cursor: Cursor, key: str, operation: Operation, answer: Answer) -> None:
        body = json.dumps(answer.body, ensure_ascii=False)
        cursor.execute(self._keep_sql, (answer.status, body, key, operation))

    def _done(self, cursor: Cursor, key: str) -> Answer | None:
        """The do's first answer; None if the do never ran, or is undone."""
        cause, answer = self._remembered(cursor, key, "do")
        if cause != "do" or self._is_settled(cursor, key, "undo"):
            return None
        return answer

    def _is_settled(self, cursor: Cursor, key: str, operation: Operation) -> bool:
        cursor.execute(self._recall_sql, (key, operation))
        return cursor.fetchone() is not None

    def _remembered(self, cursor: Cursor, key: str, operation: Operation) -> tuple[Cause, Answer]:
        cursor.execute(self._recall_sql, (key, operation))
        cause, status, body = cursor.fetchone()
        if cause != operation:
            return cause, TOO_LATE
        if status is None:
            raise BarrierError(f"The {operation} of {key} was committed though its effect had raised")
        return cause, Answer(status, json.loads(body), replayed=True)


def _certain(answer: Answer) -> Answer:
    """Refuse to remember "perhaps": what a 5xx stands for is told by raising, and forgotten by the rollback."""
    if not 200 <= answer.status < FIRST_FAILURE:  # noqa: PLR2004  the HTTP classes that say done or refused
        raise BarrierError(f"An effect answers 2xx or 4xx, or raises; not {answer.status}")
    return answer


def _sqlite_in_transaction(connection: Any) -> bool:
    return bool(connection.in_transaction)


def _postgresql_in_transaction(connection: Any) -> bool:
    """Without autocommit the first statement begins one; with it, somebody must have said BEGIN (0 is idle)."""
    return not connection.autocommit or int(connection.info.transaction_status) != 0


_TRANSACTION_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "sqlite": _sqlite_in_transaction,
    "postgresql": _postgresql_in_transaction,
}
