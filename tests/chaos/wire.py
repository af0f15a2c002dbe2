"""A proxy of PostgreSQL's wire protocol that looks for the product's checkpoints, and strikes some.

Only the framing is understood: a message is a letter, a length and a body. A statement is one `Q`; its answer ends
with `Z` (ready for the next). The product's statements are recognised by their text: `EXECUTE saga_checkpoint (...)`,
or `saga_checkpoint_ids`, `saga_checkpoint_messages` and so on.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.drivers import Connection, Drivers
from tests.chaos.faults import Fault
from tests.chaos.plan import Plan, Tally

WANTS_ENCRYPTION = {80877103, 80877104}
STATEMENT = re.compile(rb"EXECUTE saga_(checkpoint|create)\w* \(")
SAGA = re.compile(rb"'([0-9a-f-]{36})'::uuid")
NOTED_AS_SENT = b"DELETE FROM saga_outbox"
CORRELATION = re.compile(rb"'(chaos-\d+-\d+)'")
NO_ROW = b"D" + (11).to_bytes(4) + (1).to_bytes(2) + (1).to_bytes(4) + b"0"
"""The answer `count(*) = 0`."""


class Struck(Exception):
    """This connection ends here."""


@dataclass(slots=True)
class _Session:
    """One connection of the product."""

    connection: Connection
    fault: Fault | None = None
    """What happens when the statement under way has been answered."""
    saga_id: str = ""
    at_checkpoint: bool = False
    answer: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class WireProxy:
    """The server; it runs in the harness's event loop."""

    plan: Plan
    tally: Tally
    drivers: Drivers
    ports: Mapping[str, int]
    """Its own, `wire`, and that of `postgres`."""
    fenced: int = 0
    """Checkpoints that moved nothing: another driver owned the saga, or the first try had got through."""
    kill_relay: bool = False
    """Whether the next process that notes messages as sent dies before it has."""
    _server: asyncio.Server | None = None
    _correlations: dict[str, str] = field(default_factory=dict)
    _statements: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.ports["wire"])

    async def close(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass messages both ways until either side ends, or a fault does."""
        try:
            hello = await _hello(reader, writer)
            to_server, into_server = await asyncio.open_connection("127.0.0.1", self.ports["postgres"])
        except (OSError, asyncio.IncompleteReadError):
            await let_go(writer)  # PostgreSQL is away, or whoever asked for it
            return
        into_server.write(hello)
        session = _Session(Connection.accepted(writer))
        ways = [
            asyncio.ensure_future(self._ask(session, reader, into_server)),
            asyncio.ensure_future(self._answer(session, to_server, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await asyncio.gather(let_go(into_server), let_go(writer))

    async def _ask(self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await _message(reader)
            if message[:1] == b"Q":
                self._look_at(session, message)
            writer.write(message)
            await writer.drain()

    async def _answer(self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await _message(reader)
            self.fenced += session.at_checkpoint and message == NO_ROW
            if not session.fault:
                writer.write(message)
                await writer.drain()
                continue
            session.answer.append(message)
            if message[:1] == b"Z":
                self._strike_answered(session)
                writer.write(b"".join(session.answer))
                session.fault, session.answer = None, []

    def _look_at(self, session: _Session, message: bytes) -> None:
        """Find out whether this statement is a checkpoint that a fault was planned for. Raises Struck if it dies."""
        if self.kill_relay and message.startswith(NOTED_AS_SENT, 5) and self.drivers.kill(session.connection):
            self.kill_relay = False
            self.tally.count(Fault.RELAY_KILLED)
            raise Struck
        found, saga = STATEMENT.search(message, 0, 64), SAGA.search(message)
        session.at_checkpoint = bool(found and found[1] == b"checkpoint")
        if not found or not saga:
            return
        kind = "creation" if found[1] == b"create" else "checkpoint"
        session.saga_id = saga[1].decode()
        correlation = CORRELATION.search(message)
        if kind == "creation" and correlation:
            self._correlations[session.saga_id] = correlation[1].decode()
        self._statements[session.saga_id, kind] += 1
        script = self.plan.script_of(self._correlations.get(session.saga_id, ""))
        fault = self.plan.strike(script, kind, self._statements[session.saga_id, kind])
        if fault is Fault.CHECKPOINT_LOST:
            self.tally.count(fault, session.saga_id)
            raise Struck
        if fault is Fault.KILL_BEFORE_COMMIT and self.drivers.kill(session.connection):
            self.tally.count(fault, session.saga_id)
            raise Struck
        if fault in {Fault.KILL_AFTER_COMMIT, Fault.COMMIT_ANSWER_LOST, Fault.CREATION_ANSWER_LOST}:
            session.fault = fault

    def _strike_answered(self, session: _Session) -> None:
        """The statement has committed: kill, or cut, before its driver hears of it. Raises Struck."""
        assert session.fault is not None
        if any(message[:1] == b"E" or message == NO_ROW for message in session.answer):
            return  # nothing was committed
        if session.fault is Fault.KILL_AFTER_COMMIT and not self.drivers.kill(session.connection):
            return
        self.tally.count(session.fault, session.saga_id)
        raise Struck


async def let_go(writer: asyncio.StreamWriter) -> None:
    """Close a connection for certain, also one whose other end is stopped and does not read what is left to be sent."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), 1)
    except (OSError, TimeoutError):
        writer.transport.abort()
        await asyncio.sleep(0)


async def _hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The start-up message; a wish for encryption before it is declined, as a server without it does."""
    while True:
        length = await reader.readexactly(4)
        content = await reader.readexactly(int.from_bytes(length) - 4)
        if int.from_bytes(content[:4]) not in WANTS_ENCRYPTION:
            return length + content
        writer.write(b"N")


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
