"""A service that speaks through a message broker: commands that it listens to, and messages that it sends.

What a service sends is written into a table in the transaction of the effect, and goes out from there: a crash between
the two loses nothing. A command goes through the barrier like a call over HTTP, and a repeated one is answered again.
"""

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import time
from typing import Any, Final
from uuid import uuid4

from application.ports import Message, Verdict
from application.trace_context import HEADER
from domain.exceptions import BrokerUnavailable
from participants.database import Database
from participants.faults import MESSAGE, MESSAGE_KINDS, Faults, Rule
from participants.validation import RequestError, json_object, text

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    message_key TEXT NOT NULL,
    body BLOB NOT NULL,
    traceparent TEXT NOT NULL,  -- of the call or the command that it follows from; empty where that had none
    due_at REAL NOT NULL  -- seconds since 1970
);
"""
LOOK: Final = 0.2
"""Seconds between two looks for messages to send."""
SECONDS_TO_STOP: Final = 3.0
BATCH: Final = 200
MALFORMED: Final = b'\xff{"type": "alliance_'

_INSERT = "INSERT INTO outbox (topic, message_key, body, traceparent, due_at) VALUES (?, ?, ?, ?, ?)"
_DUE = "SELECT id, topic, message_key, body, traceparent FROM outbox WHERE due_at <= ? ORDER BY id LIMIT ?"

logger = logging.getLogger("participants")

Command = Callable[[sqlite3.Cursor, dict[str, Any], bool], dict[str, Any] | None]
"""Carries a command out in the transaction it is given, or refuses it (the last argument); returns its answer."""


@dataclass(frozen=True, slots=True)
class Listens:
    """What a service listens to, and where its answers go. A command that is nobody's goes to the dead letters."""

    topic: str
    subscription: str
    answers: str
    commands: Mapping[str, Command]


def send(
    cursor: sqlite3.Cursor, to: tuple[str, str], body: dict[str, Any] | bytes, traceparent: str, delay: float = 0
) -> None:
    """Send a message to a topic, under a key, if this transaction is kept."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    cursor.execute(_INSERT, (*to, content, traceparent, time() + delay))


class Messaging:
    """The threads of one running service: one sends, one listens where there is something to listen to."""

    def __init__(self, listens: Listens | None, database: Database, broker: str, faults: Faults | None) -> None:
        from infrastructure.pulsar_bus import PulsarPublisher, PulsarSubscriber  # noqa: PLC0415 - only with a broker

        self._listens, self._database, self._faults = listens, database, faults
        self._publisher, self._subscriber = PulsarPublisher(broker), PulsarSubscriber(broker)
        self._stop, self._to_send = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._send_all, name="sending", daemon=True)]
        if listens:
            self._threads.append(threading.Thread(target=self._listen, args=(listens,), name="listening", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._to_send.set()
        for thread in self._threads:
            thread.join(SECONDS_TO_STOP)
        self._publisher.close()

    def _send_all(self) -> None:
        while not self._stop.is_set():
            self._to_send.clear()
            try:
                if self._send_some():
                    continue
            except BrokerUnavailable:
                pass  # the publisher has said so; it stays in the table
            except Exception:
                logger.exception("messages could not be sent")
            self._to_send.wait(LOOK)

    def _send_some(self) -> bool:
        rows = self._database.cursor().execute(_DUE, (time(), BATCH)).fetchall()
        if rows:
            self._publisher.publish([_message(row) for row in rows])
            with self._database.transaction() as cursor:
                cursor.executemany("DELETE FROM outbox WHERE id = ?", [(row[0],) for row in rows])
        return bool(rows)

    def _listen(self, listens: Listens) -> None:
        self._subscriber.consume(
            [listens.topic], listens.subscription, lambda message: self._take(listens, message), self._stop
        )

    def _take(self, listens: Listens, message: Message) -> Verdict:
        try:
            body = json_object(message.body)
            command = listens.commands[text(body, "type")]
            rule = self._fault(listens, body)
            if rule and rule.fault == "ignored":
                return Verdict.DONE
            if rule and rule.fault == "failed":
                return Verdict.LATER
            with self._database.transaction() as cursor:
                answer = command(cursor, body, rule is not None and rule.fault == "rejected")
                if answer is not None:
                    _answer(cursor, listens.answers, answer, rule, message.properties.get(HEADER, ""))
        except (RequestError, KeyError) as error:
            logger.warning("a command is none", extra={"topic": message.topic, "reason": repr(error)})
            return Verdict.DEAD
        told = {"topic": message.topic, "type": body["type"], "saga_id": body.get("saga_id")}
        logger.info("command taken", extra={**told, HEADER: message.properties.get(HEADER)})
        self._to_send.set()
        return Verdict.DONE

    def _fault(self, listens: Listens, body: dict[str, Any]) -> Rule | None:
        if self._faults is None:
            return None
        key = str(body.get("key") or body.get("undo_of") or "")
        return self._faults.pick(MESSAGE, f"{listens.topic}/{body['type']}", key, MESSAGE_KINDS)


def _message(row: tuple[Any, ...]) -> Message:
    _, topic, key, body, traceparent = row
    return Message(topic, key, bytes(body), {HEADER: traceparent} if traceparent else {})


def _answer(cursor: sqlite3.Cursor, topic: str, answer: dict[str, Any], rule: Rule | None, traceparent: str) -> None:
    fault, saga_id = rule.fault if rule else None, answer["saga_id"]
    if fault == "unanswered":
        return
    if fault == "answered_malformed":
        send(cursor, (topic, saga_id), MALFORMED, traceparent)
        return
    if fault == "answered_for_nobody":
        saga_id = str(uuid4())
        answer = {**answer, "saga_id": saga_id}
    delay = rule.seconds if rule and fault == "answered_late" else 0.0
    for _ in range(2 if fault == "answered_twice" else 1):
        send(cursor, (topic, saga_id), answer, traceparent, delay)
