"""The outbox in PostgreSQL: rows that checkpoints insert, and one process deletes once the broker has them."""

import logging
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from django.db import connection

from application.ports import Message, Outgoing, Refused
from application.trace_context import HEADER, MESSAGE, SAGA, Sampled, child, unsampled
from infrastructure.models import OutboxRow

logger = logging.getLogger("saga.outbox")
LOCK = 0x5A6A0B0F
"""The advisory lock of the process that empties the outbox; PostgreSQL lets it go with the connection."""

_WAITING = """
SELECT message.id, message.saga_id, message.seq, message.topic, message.payload, sagas.data ->> 'traceparent'
FROM saga_outbox AS message LEFT JOIN sagas ON sagas.id = message.saga_id
WHERE message.published_at IS NULL AND message.refused IS NULL AND message.topic <> ALL(%s::text[])
  AND message.id > %s
ORDER BY message.id LIMIT %s
"""


class PostgresOutbox:
    """The `Outbox` over Django's connection of one thread. On the topic of events no message is a span of its own."""

    def __init__(self, events_topic: str | None = None, sampled: Sampled = unsampled) -> None:
        self._events_topic, self._sampled = events_topic, sampled
        self._led_by: Any = None

    def lead(self) -> bool:
        """See `Outbox`."""
        connection.ensure_connection()
        if self._led_by is not None and self._led_by is connection.connection:
            return True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            led: bool = cursor.fetchone()[0]
        self._led_by = connection.connection if led else None
        return led

    def waiting(self, limit: int, but: Collection[str] = (), after: int = 0) -> list[Outgoing]:
        """See `Outbox`. In the order of insertion: a saga's checkpoints follow each other. Beyond number `after`."""
        with connection.cursor() as cursor:
            cursor.execute(_WAITING, [list(but), after, limit])
            return [self._outgoing(row) for row in cursor.fetchall()]

    def sent(self, messages: Sequence[Outgoing]) -> None:
        """See `Outbox`."""
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM saga_outbox WHERE id = ANY(%s)", [[each.number for each in messages]])

    def put_aside(self, message: Outgoing, reason: str) -> None:
        """See `Outbox`."""
        OutboxRow.objects.filter(id=message.number).update(refused=reason)
        more = {**message.message.properties, "topic": message.message.topic, "number": message.number}
        logger.error("a message cannot be sent and was put aside", extra={**more, "reason": reason})

    def refused(self, limit: int | None = None) -> list[Refused]:
        """See `Outbox`."""
        rows = OutboxRow.objects.filter(refused__isnull=False).order_by("id")[:limit]
        return [Refused(*row) for row in rows.values_list("id", "saga_id", "seq", "topic", "refused")]

    def settle(self, number: int, *, send: bool) -> bool:
        """See `Outbox`."""
        row = OutboxRow.objects.filter(id=number, refused__isnull=False)
        return bool(row.update(refused=None) if send else row.delete()[0])

    def _outgoing(self, row: tuple[Any, ...]) -> Outgoing:
        number, saga_id, seq, topic, payload, traceparent = row
        span = (SAGA, 1) if topic == self._events_topic else (MESSAGE, seq)
        trace = child(traceparent, saga_id, *span, self._sampled)
        properties = {"saga_id": str(saga_id), "seq": str(seq), HEADER: trace}
        return Outgoing(number, Message(topic, str(saga_id), _bytes(payload), properties))


def _bytes(payload: Any) -> bytes:
    return payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
