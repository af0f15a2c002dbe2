"""The benchmark's clients: a closed loop over raw sockets that costs little of the CPU that it measures.

A process of its own. It reads one JSON request a line (`{"clients": 8, "seconds": 5}`), runs that round and writes
`{"sagas", "elapsed", "p50_ms", "p99_ms"}`. Every answer is checked; one that is not a completed saga ends it.
"""

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

ORDER = {
    "client_id": "12345678-1234-1234-1234-123456789012",
    "magasin_id": "550e8400-e29b-41d4-a716-446655440000",
    "lignes": [{"produit_id": "550e8400-e29b-41d4-a716-446655440001", "quantite": 2}],
}
PATH = "/api/saga/commandes/"
LONGEST_WAIT = 30.0  # s; a saga's own deadline


class WrongAnswerError(Exception):
    """The service answered with something else than a completed saga."""


@dataclass
class Client:
    """One connection with one request under way."""

    address: tuple[str, int]
    request: bytes
    sent_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.socket = self._connected()

    def send(self) -> None:
        self.received.clear()
        self.sent_at = time.perf_counter()
        self.socket.sendall(self.request)

    def receive(self) -> bool:
        """Take what has come; True when the answer is whole. Raises WrongAnswerError."""
        part = self.socket.recv(65536)
        self.received += part
        head, found, body = bytes(self.received).partition(b"\r\n\r\n")
        if not part and not found:
            raise WrongAnswerError(f"connection closed after {self.received[:200]!r}")
        if not found or (part and not _is_whole(head.lower(), body)):
            return False
        if not head.startswith(b"HTTP/1.1 201") or b'"SAGA_TERMINEE"' not in body:
            raise WrongAnswerError(self.received.decode(errors="replace")[:2000])
        return True

    def closes(self) -> bool:
        return b"\r\nconnection: close" in bytes(self.received[:2000]).lower()

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(self.address, timeout=LONGEST_WAIT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _is_whole(head: bytes, body: bytes) -> bool:
    _, found, length = head.partition(b"\r\ncontent-length:")
    if found:
        return len(body) >= int(length.split(b"\r\n", 1)[0])
    return b"\r\ntransfer-encoding: chunked" in head and body.endswith(b"0\r\n\r\n")


def run_round(address: tuple[str, int], clients: int, seconds: float) -> dict[str, float]:
    """Each client sends its next order as soon as its last is answered, until the time is over."""
    request = _request(address)
    times: list[float] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            client = Client(address, request)
            selector.register(client.socket, selectors.EVENT_READ, client)
        started = time.perf_counter()
        for key in selector.get_map().values():
            key.data.send()
        while selector.get_map():
            ready = selector.select(LONGEST_WAIT)
            if not ready:
                raise WrongAnswerError(f"no answer within {LONGEST_WAIT:.0f} s")
            for key, _ in ready:
                _serve(selector, key.data, times, started + seconds)
        elapsed = time.perf_counter() - started
    times.sort()
    return {
        "sagas": len(times),
        "elapsed": elapsed,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
    }


def _serve(selector: selectors.BaseSelector, client: Client, times: list[float], end: float) -> None:
    if not client.receive():
        return
    now = time.perf_counter()
    times.append(now - client.sent_at)
    if now < end and not client.closes():
        client.send()
        return
    selector.unregister(client.socket)
    client.socket.close()
    if now < end:
        client = Client(client.address, client.request)
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send()


def _request(address: tuple[str, int]) -> bytes:
    body = json.dumps(ORDER).encode()
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def main() -> int:
    address = ("127.0.0.1", int(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            print(json.dumps(run_round(address, asked["clients"], asked["seconds"])), flush=True)
        except (WrongAnswerError, OSError) as error:
            print(json.dumps({"error": str(error)}), flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
