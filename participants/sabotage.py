"""Scripted faults carried out: each one spoils a call in the way its name says, on the real connection."""

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final

from participants.faults import Rule, fault_error
from participants.response import Response, error_response

Execute = Callable[[], Response]
PAGE: Final = b"<!doctype html>\n<html><head><title>Oops</title></head><body><h1>Something else</h1></body></html>\n"
LINGER_ZERO: Final = struct.pack("ii", 1, 0)

# Twice the server's threads: every call being handled may be duplicated.
_twins = ThreadPoolExecutor(max_workers=32, thread_name_prefix="duplicate")


class ConnectionSpoiledError(ConnectionResetError):
    """The connection was closed on purpose; the server takes it for a client that went away, and writes nothing."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "closed by a scripted fault")


def strike(rule: Rule, execute: Execute, client: socket.socket) -> Response:
    """Do to this call what the rule says; raises ``ConnectionSpoiledError`` when there is no answer to send."""
    return _ACTIONS[rule.fault](rule, execute, client)


def _fail(rule: Rule, execute: Execute, _: socket.socket) -> Response:
    if rule.execute:
        execute()
    return error_response(fault_error(rule.status), rule.headers)


def _delay(rule: Rule, execute: Execute, _: socket.socket) -> Response:
    time.sleep(rule.seconds)
    return execute()


def _answer_lost(_: Rule, execute: Execute, client: socket.socket) -> Response:
    execute()
    return _hang_up(client)


def _duplicate(_: Rule, execute: Execute, __: socket.socket) -> Response:
    twins = [_twins.submit(execute), _twins.submit(execute)]
    done, _pending = wait(twins, return_when=FIRST_COMPLETED)
    return done.pop().result()


def _html(rule: Rule, execute: Execute, _: socket.socket) -> Response:
    if rule.execute:
        execute()
    return Response(rule.status, [PAGE], len(PAGE), {"Content-Type": "text/html; charset=utf-8", **rule.headers})


def _truncated(rule: Rule, execute: Execute, client: socket.socket) -> Response:
    answer = _whole(rule, execute)
    content = b"".join(answer.chunks)
    head = f"HTTP/1.1 {answer.status} Truncated\r\nContent-Length: {answer.length}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    client.sendall(head.encode() + b"\r\n" + content[: len(content) // 2])
    return _hang_up(client)


def _drip(rule: Rule, execute: Execute, _: socket.socket) -> Response:
    answer = _whole(rule, execute)
    return replace(answer, chunks=_slowly(b"".join(answer.chunks), rule.seconds))


def _slowly(content: bytes, seconds: float) -> Iterator[bytes]:
    pause = seconds / len(content)
    for position in range(len(content)):
        time.sleep(pause)
        yield content[position : position + 1]


def _reset(rule: Rule, execute: Execute, client: socket.socket) -> Response:
    if rule.execute:
        execute()
    # Closing with no time to linger sends RST instead of FIN. The server still holds the descriptor and will close
    # it: put a blank socket in its place rather than free a number that another connection would get.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    with socket.socket(client.family, socket.SOCK_STREAM) as blank:
        os.dup2(blank.fileno(), client.fileno())
    raise ConnectionSpoiledError


def _whole(rule: Rule, execute: Execute) -> Response:
    return execute() if rule.execute else error_response(fault_error(rule.status), rule.headers)


def _hang_up(client: socket.socket) -> Response:
    client.shutdown(socket.SHUT_RDWR)
    raise ConnectionSpoiledError


_ACTIONS: Final[dict[str, Callable[[Rule, Execute, socket.socket], Response]]] = {
    "fail": _fail,
    "delay": _delay,
    "answer_lost": _answer_lost,
    "duplicate": _duplicate,
    "html": _html,
    "truncated": _truncated,
    "drip": _drip,
    "reset": _reset,
}
