"""The broker's side of a run: a proxy before it, faults of single messages, and who hears every event of a saga."""

import asyncio
import contextlib
import json
import logging
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from application.ports import Message, Verdict
from infrastructure.pulsar_bus import PulsarSubscriber
from tests.chaos.faults import AT_A_MESSAGE, Fault
from tests.chaos.plan import Script, Tally
from tests.chaos.wire import let_go
from tests.chaos.workloads import WORKLOADS

CHUNK = 65536
EVENTS_TOPIC = "saga-events"
TOO_LATE = 33.0
"""Seconds after which an answer comes that a saga waits 30 seconds for."""
RESET = struct.pack("ii", 1, 0)

_direct = build_opener(ProxyHandler({}))


@dataclass(slots=True)
class BrokerProxy:
    """Passes bytes on. It runs in the harness's event loop.

    A client asks the broker for its address and connects there; so that address is replaced on its way by this one's,
    which is as long.
    """

    tally: Tally
    ports: Mapping[str, int]
    """Its own, `broker_proxy`, and that of the `broker`."""
    passed: int = 0
    """Bytes that clients have sent."""
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def open(self) -> None:
        """Accept connections, always at the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.ports["broker_proxy"])

    async def close(self) -> None:
        if self._server:
            self._server.close()

    async def cut(self, seconds: float) -> None:
        """Break every connection, and refuse new ones for a moment."""
        await self.close()
        for writer in list(self._open):
            _reset(writer)
        await asyncio.sleep(seconds)
        await self.open()
        self.tally.count(Fault.BROKER_CUT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_broker, into_broker = await asyncio.open_connection("127.0.0.1", self.ports["broker"])
        except OSError:
            await let_go(writer)
            return
        own, other = (f"127.0.0.1:{self.ports[name]}".encode() for name in ("broker_proxy", "broker"))
        self._open |= {writer, into_broker}
        ways = [
            asyncio.ensure_future(self._ask(reader, into_broker)),
            asyncio.ensure_future(_answer(from_broker, writer, other, own)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= {writer, into_broker}
            for way in ways:
                way.cancel()
            ended = await asyncio.gather(*ways, return_exceptions=True)
            if any(isinstance(each, ConnectionError) for each in ended):
                _reset(writer)
                _reset(into_broker)
            await asyncio.gather(let_go(into_broker), let_go(writer))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(CHUNK):
            self.passed += len(content)
            writer.write(content)
            await writer.drain()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, old: bytes, new: bytes) -> None:
    while content := await reader.read(CHUNK):
        writer.write(content.replace(old, new))
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection so that its other end hears of it as of a broken one."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@dataclass(slots=True)
class MessageFaults:
    """Tells a listener what to do with a saga's command, by the participants' own scripted faults."""

    tally: Tally
    ports: Mapping[str, int]
    _scripted: dict[str, Fault] = field(default_factory=dict)
    _listeners: set[str] = field(default_factory=set)

    async def script(self, script: Script, saga_id: str) -> None:
        """What is to befall this saga's message. It has not been sent yet, and a listener that is dead forgets it."""
        if saga_id in self._scripted:
            return
        assert script.fault
        self._scripted[saga_id] = script.fault
        listener = WORKLOADS[script.workflow].listener
        self._listeners.add(listener)
        rule = {"fault": AT_A_MESSAGE[script.fault], "match": {"key": f"{saga_id}:"}, "times": 1, "seconds": TOO_LATE}
        await asyncio.to_thread(self._ask, listener, rule)

    def look(self) -> None:
        """Count those that have happened."""
        for listener in self._listeners:
            for rule in self._ask(listener).get("rules", []):
                saga_id = rule["match"]["key"].removesuffix(":")
                fault = self._scripted[saga_id]
                if rule["used"] and saga_id not in self.tally.touched[fault]:
                    self.tally.count(fault, saga_id)

    def _ask(self, listener: str, rule: Mapping[str, Any] | None = None) -> Any:
        """Nothing while the listener is away."""
        content = json.dumps(rule).encode() if rule else None
        request = Request(f"http://127.0.0.1:{self.ports[listener]}/_faults", content)
        try:
            with _direct.open(request, timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return {}


class Audience:
    """Who listens to `saga-events` from the first one on; a repeated event is dropped."""

    def __init__(self, url: str) -> None:
        self.heard: dict[str, list[int]] = defaultdict(list)
        self.again = 0
        self._stop = threading.Event()
        logging.getLogger("saga.bus").addHandler(logging.NullHandler())  # that the broker is away is no news here
        arguments = ([EVENTS_TOPIC], "chaos", self._note, self._stop)
        self._thread = threading.Thread(target=PulsarSubscriber(url).consume, args=arguments, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _note(self, message: Message) -> Verdict:
        event = json.loads(message.body)
        if event["seq"] in self.heard[event["saga_id"]]:
            self.again += 1
        else:
            self.heard[event["saga_id"]].append(event["seq"])
        return Verdict.DONE
