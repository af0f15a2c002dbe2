"""The fault gateway: stands where Kong stands, passes calls on, and does to some of them what the plan says.

It answers as Kong does: a participant's own answer passes with `Via`, one that never reached a participant carries
`X-Kong-Response-Latency` and no `Via` (docs/gateway.md). It runs in an event loop of its own thread (`Loop`).
"""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos.database import Database
from tests.chaos.drivers import Connection, Drivers
from tests.chaos.faults import AT_A_MESSAGE, Fault
from tests.chaos.messages import MessageFaults
from tests.chaos.plan import Plan, Script, Tally
from tests.chaos.wire import let_go

CALLERS_TIMEOUT = 5.0
"""Seconds that the workflows' calls wait for an answer."""
PATIENCE = 4.0
"""Seconds that an answer can be held back before its caller gives up."""
TAKEOVER = 30.0
"""Seconds after which a stopped driver is woken even when nobody took its saga over."""
KEY = re.compile(r"(?P<saga>[^:]+):(?P<place>\w+(?:\[\d+\])?)(?::.*)?:(?P<action>do|undo|inquire)")

EXPIRE = """
UPDATE sagas SET lease_expires_at = now() - interval '1 second'
WHERE id = %s AND lease_expires_at > now() RETURNING lease_token
"""
HELD = "SELECT lease_token FROM sagas WHERE id = %s"
OTHER_DRIVER = "SELECT 1 FROM sagas WHERE id = %s AND lease_token <> %s"
OTHER_DRIVER_FINISHED = f"{OTHER_DRIVER} AND lease_expires_at IS NULL"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets. `cut` sends only so many bytes of it and closes; `seconds` is how long it drips."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: int | None = None
    seconds: float = 0.0

    @property
    def wire(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body


@dataclass(slots=True)
class Call:
    """One call of a driver."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: Connection
    reader: asyncio.StreamReader
    service: str = ""
    saga_id: str = ""
    label: str = ""
    attempt: int = 0
    script: Script | None = None
    woken: int | None = None
    """The stopped driver that has to be woken once its answer is there."""

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")


Handler = Callable[["FaultGateway", Call], Awaitable[Answer | None]]
"""What a fault does with a call; None closes the connection without an answer."""


@dataclass(slots=True)
class FaultGateway:
    """The server. All its methods run in its event loop."""

    plan: Plan
    tally: Tally
    drivers: Drivers
    database: Database
    ports: Mapping[str, int]
    """Its own, `gateway`, and that of each service."""
    message_faults: MessageFaults
    calls: int = 0
    _server: asyncio.Server | None = None
    _attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _held: dict[str, Call] = field(default_factory=dict)
    _late: set[asyncio.Task[None]] = field(default_factory=set)
    _idle: set[asyncio.StreamWriter] = field(default_factory=set)

    async def open(self) -> None:
        """Accept connections, always at the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.ports["gateway"])

    async def refuse(self, seconds: float) -> None:
        """Be away: whoever connects meets a closed port."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._idle):
            writer.close()
        await asyncio.sleep(seconds)
        await self.open()
        self.tally.count(Fault.REFUSED)

    async def settle(self) -> None:
        """Deliver whatever is still under way, so that nothing happens after the end."""
        for call in list(self._held.values()):
            await self._forward(call)
        self._held.clear()
        while self._late:
            await asyncio.wait(set(self._late))

    async def close(self) -> None:
        if self._server:
            self._server.close()

    # --- one connection -----------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection.accepted(writer)
        open_ = True
        try:
            while open_:
                self._idle.add(writer)
                call = await _read(reader, connection)
                self._idle.discard(writer)
                open_ = await self._reply(call, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # its driver hung up, or is dead
        finally:
            self._idle.discard(writer)
            await let_go(writer)

    async def _reply(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        """Answer one call; whether the connection stays open."""
        try:
            answer = await self._answer(call)
            if answer is None:
                return False
            if answer.seconds:
                await _drip(answer, writer)
            else:
                writer.write(answer.wire[: answer.cut])
                await writer.drain()
            return answer.cut is None
        finally:
            if call.woken:
                self.drivers.wake(call.woken)

    async def _answer(self, call: Call) -> Answer | None:
        found = re.fullmatch(r"/api/([\w-]+)(/.*)", call.path)
        if not found or found[1] not in self.ports:
            return _own(404, "no Route matched with those values")
        self.calls += 1
        call.service, call.path = found.groups()
        named = KEY.fullmatch(call.key)
        if named:
            call.saga_id, call.label = named["saga"], f"{named['place']}:{named['action']}"
        self._attempts[call.saga_id, call.label] += 1
        call.attempt = self._attempts[call.saga_id, call.label]
        call.script = self.plan.script_of(call.headers.get("x-correlation-id", ""))
        if call.script and call.script.fault in AT_A_MESSAGE:
            await self.message_faults.script(call.script, call.saga_id)
        fault = self.plan.strike(call.script, call.label, call.attempt)
        return await (HANDLERS[fault](self, call) if fault else self._forward(call))

    async def _forward(self, call: Call) -> Answer:
        """What the participant answers; after an undo, or an inquiry, the do may go that was held back for it."""
        answer = await self._ask(call)
        head, _, action = call.key.rpartition(":")
        if action in {"undo", "inquire"} and answer.status == 200:
            held = self._held.pop(f"{head}:do", None)
            if held:
                await self._ask(held)
                self._count(Fault.DO_AFTER_UNDO, held)
        return answer

    async def _ask(self, call: Call) -> Answer:
        headers = {name: value for name, value in call.headers.items() if name not in {"x-api-key", "connection"}}
        lines = [f"{call.method} {call.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[call.service])
            try:
                writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + call.body)
                return _passed(await reader.read(-1))
            finally:
                await let_go(writer)
        except (OSError, ValueError):  # it was killed: it refuses, or breaks off
            self.tally.touched[Fault.PARTICIPANT_KILLED].add(call.saga_id)
            return _own(502, "An invalid response was received from the upstream server", Via="1.1 kong/3.9.3")

    def _count(self, fault: Fault, call: Call) -> None:
        self.tally.count(fault, call.saga_id)

    # --- the faults ---------------------------------------------------------------------------------------------

    async def _kill_before_call(self, call: Call) -> Answer | None:
        return await self._kill(Fault.KILL_BEFORE_CALL, call)

    async def _kill_between_undos(self, call: Call) -> Answer | None:
        return await self._kill(Fault.KILL_BETWEEN_UNDOS, call)

    async def _kill_after_call(self, call: Call) -> Answer | None:
        answer = await self._forward(call)
        return await self._kill(Fault.KILL_AFTER_CALL, call, answer)

    async def _kill(self, fault: Fault, call: Call, answer: Answer | None = None) -> Answer | None:
        if not self.drivers.kill(call.connection):
            return answer or await self._forward(call)  # it died of something else meanwhile
        self._count(fault, call)
        return None

    async def _stop_beyond_lease(self, call: Call) -> Answer | None:
        """Stop the driver, wait until another has taken its saga over, and wake it with the answer at its door."""
        pid = None if self.drivers.stopped else self.drivers.stop(call.connection)
        if pid is None:
            return await self._forward(call)
        call.woken = pid
        held = await self.database.ask(HELD, call.saga_id)
        answer = await self._forward(call)
        if held and await self.database.until(TAKEOVER, OTHER_DRIVER, call.saga_id, held[0][0]):
            self._count(Fault.STOP_BEYOND_LEASE, call)
        return answer

    async def _two_drivers(self, call: Call) -> Answer | None:
        """Let another driver claim the saga while this one waits for its answer; then both have it."""
        answer = await self._forward(call)
        held = await self.database.ask(EXPIRE, call.saga_id)
        if not held:
            return answer
        assert call.script is not None
        to_its_end = self.plan.draw(call.script, call.label, 0).random() < 0.6
        question = OTHER_DRIVER_FINISHED if to_its_end else OTHER_DRIVER
        await self.database.until(PATIENCE, question, call.saga_id, held[0][0])
        if await self.database.ask(OTHER_DRIVER, call.saga_id, held[0][0]):
            self._count(Fault.TWO_DRIVERS, call)
        return answer

    async def _answer_lost(self, call: Call) -> Answer | None:
        await self._forward(call)
        self._count(Fault.ANSWER_LOST, call)
        return None

    async def _answers_all_lost(self, call: Call) -> Answer | None:
        await self._forward(call)
        self._count(Fault.ANSWERS_ALL_LOST, call)
        return None

    async def _inquiry_lost(self, call: Call) -> Answer | None:
        """The second inquiry is told the truth."""
        action = call.label.rpartition(":")[2]
        if action == "undo" or (action == "inquire" and call.attempt > 1):
            return await self._forward(call)
        if self._tossed(call):
            await self._forward(call)
        if action == "inquire":
            self._count(Fault.INQUIRY_LOST, call)
        return None

    async def _executed_too_late(self, call: Call) -> Answer | None:
        """The caller hangs up when its time is over; only then the participant hears of the call."""
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(call.reader.read(1), CALLERS_TIMEOUT + 2)
        self._count(Fault.EXECUTED_TOO_LATE, call)
        late = asyncio.ensure_future(self._deliver(call))
        self._late.add(late)
        late.add_done_callback(self._late.discard)
        return None

    async def _deliver(self, call: Call) -> None:
        await self._forward(call)

    async def _do_after_undo(self, call: Call) -> Answer | None:
        self._held.setdefault(call.key, call)
        return None

    async def _duplicate(self, call: Call) -> Answer | None:
        answer = await self._forward(call)
        await self._forward(call)
        self._count(Fault.DUPLICATE, call)
        return answer

    async def _concurrent_duplicate(self, call: Call) -> Answer | None:
        answers = await asyncio.gather(self._forward(call), self._forward(call))
        self._count(Fault.CONCURRENT_DUPLICATE, call)
        return answers[0]

    async def _too_many_requests(self, call: Call) -> Answer | None:
        self._count(Fault.TOO_MANY_REQUESTS, call)
        return _own(429, "API rate limit exceeded", **{"Retry-After": "1"})

    async def _server_error(self, call: Call) -> Answer | None:
        if self._tossed(call):
            await self._forward(call)
        self._count(Fault.SERVER_ERROR, call)
        return _participants(500, json.dumps({"code": "internal", "detail": "a fault of this test"}).encode())

    async def _html(self, call: Call) -> Answer | None:
        await self._forward(call)
        self._count(Fault.HTML, call)
        return _participants(200, b"<!doctype html><title>Maintenance</title>", "text/html")

    async def _truncated(self, call: Call) -> Answer | None:
        answer = await self._forward(call)
        self._count(Fault.TRUNCATED, call)
        head = len(answer.wire) - len(answer.body)
        return Answer(answer.status, answer.headers, answer.body, cut=head + len(answer.body) // 2)

    async def _slow_drip(self, call: Call) -> Answer | None:
        """The whole answer, in time or not."""
        answer = await self._forward(call)
        self._count(Fault.DRIP, call)
        seconds = CALLERS_TIMEOUT + 2 if self._tossed(call) else CALLERS_TIMEOUT / 4
        return Answer(answer.status, answer.headers, answer.body, seconds=seconds)

    async def _gateway_401(self, call: Call) -> Answer | None:
        self._count(Fault.GATEWAY_401, call)
        return _own(401, "Unauthorized", **{"X-Kong-Response-Latency": "0"})

    async def _gateway_502(self, call: Call) -> Answer | None:
        if self._tossed(call):
            await self._forward(call)
        self._count(Fault.GATEWAY_502, call)
        return _own(502, "An invalid response was received from the upstream server", Via="1.1 kong/3.9.3")

    async def _gateway_504(self, call: Call) -> Answer | None:
        if self._tossed(call):
            await self._forward(call)
        self._count(Fault.GATEWAY_504, call)
        return _own(504, "The upstream server is timing out", Via="1.1 kong/3.9.3")

    async def _undo_never_works(self, call: Call) -> Answer | None:
        """Refused, which gives the undo up at once; or failing each time, until its patience is used up."""
        self._count(Fault.UNDO_NEVER_WORKS, call)
        assert call.script is not None
        status = 409 if self.plan.undo_is_refused(call.script) else 500
        return _participants(status, b'{"detail": "a fault of this test: this undo never works"}')

    def _tossed(self, call: Call) -> bool:
        """A coin of this attempt's own, not the one that chose the fault."""
        assert call.script is not None
        return self.plan.draw(call.script, f"coin:{call.label}", call.attempt).random() < 0.5


HANDLERS: Mapping[Fault, Handler] = {
    Fault.KILL_BEFORE_CALL: FaultGateway._kill_before_call,
    Fault.KILL_AFTER_CALL: FaultGateway._kill_after_call,
    Fault.KILL_BETWEEN_UNDOS: FaultGateway._kill_between_undos,
    Fault.STOP_BEYOND_LEASE: FaultGateway._stop_beyond_lease,
    Fault.TWO_DRIVERS: FaultGateway._two_drivers,
    Fault.ANSWER_LOST: FaultGateway._answer_lost,
    Fault.ANSWERS_ALL_LOST: FaultGateway._answers_all_lost,
    Fault.INQUIRY_LOST: FaultGateway._inquiry_lost,
    Fault.EXECUTED_TOO_LATE: FaultGateway._executed_too_late,
    Fault.DO_AFTER_UNDO: FaultGateway._do_after_undo,
    Fault.DUPLICATE: FaultGateway._duplicate,
    Fault.CONCURRENT_DUPLICATE: FaultGateway._concurrent_duplicate,
    Fault.TOO_MANY_REQUESTS: FaultGateway._too_many_requests,
    Fault.SERVER_ERROR: FaultGateway._server_error,
    Fault.HTML: FaultGateway._html,
    Fault.TRUNCATED: FaultGateway._truncated,
    Fault.DRIP: FaultGateway._slow_drip,
    Fault.GATEWAY_401: FaultGateway._gateway_401,
    Fault.GATEWAY_502: FaultGateway._gateway_502,
    Fault.GATEWAY_504: FaultGateway._gateway_504,
    Fault.UNDO_NEVER_WORKS: FaultGateway._undo_never_works,
}


async def _read(reader: asyncio.StreamReader, connection: Connection) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(method, path, headers, body, connection, reader)


async def _drip(answer: Answer, writer: asyncio.StreamWriter) -> None:
    content = answer.wire
    for byte in content:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(answer.seconds / len(content))


def _passed(content: bytes) -> Answer:
    """A participant's own answer, as Kong passes it on. Raises ValueError for half an answer."""
    head, found, body = content.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if not found or len(body) != int(headers.get("content-length", "-1")):
        raise ValueError("the participant broke off")
    kept = {name: headers[name] for name in ("content-type", "retry-after") if name in headers}
    return Answer(int(lines[0].split(" ")[1]), {**kept, **_THROUGH}, body)


def _participants(status: int, body: bytes, kind: str = "application/json") -> Answer:
    """An answer that looks like a participant's own."""
    return Answer(status, {"Content-Type": kind, **_THROUGH}, body)


def _own(status: int, message: str, **headers: str) -> Answer:
    """An answer of the gateway; without a `Via` among the headers the call never left it."""
    told = headers if "Via" in headers else {"X-Kong-Response-Latency": "0", **headers}
    body = json.dumps({"message": message, "request_id": "chaos"}, indent=2).encode()
    return Answer(
        status, {"Content-Type": "application/json; charset=utf-8", "X-Kong-Request-Id": "chaos", **told}, body
    )


_THROUGH = {
    "Via": "1.1 kong/3.9.3",
    "X-Kong-Upstream-Latency": "1",
    "X-Kong-Proxy-Latency": "0",
    "X-Kong-Request-Id": "chaos",
}
