"""What goes wrong on the way to a participant and back, on real sockets: what is certain, and how long it takes."""

import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
from wire import READ, TASK, answer, close, participants, reset, say, served, then

from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from infrastructure import http_connection, http_participants
from infrastructure.http_participants import MAX_BODY

SHORT = 0.3
SOON = 2.0
"""Seconds within which a call of SHORT is over, on a busy machine too."""


def outcome_of(script, task=TASK):
    with served(script) as wire, participants(wire.url) as adapter:
        return adapter.call(task).outcome


@contextmanager
def nobody_listens():
    with socket.socket() as bound:  # bound but not listening: the port is nobody else's, and refuses
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_a_refused_connection_did_nothing():
    with nobody_listens() as url, participants(url) as adapter:
        reply = adapter.call(TASK)

    assert type(reply.outcome) is Unavailable
    assert "refused" in reply.outcome.reason
    assert (reply.facts.status, reply.facts.service, reply.facts.method) == (None, "inventaire", "POST")


def test_a_name_that_does_not_resolve_did_nothing():
    with participants("http://participant.invalid") as adapter:
        assert type(adapter.call(TASK).outcome) is Unavailable


def test_a_connection_that_is_not_accepted_in_time_did_nothing(monkeypatch):
    monkeypatch.setattr(http_participants, "CONNECT_TIMEOUT", SHORT)
    with _full_listener() as url, participants(url) as adapter:
        outcome = adapter.call(TASK).outcome

    assert type(outcome) is Unavailable
    assert "Timeout" in outcome.reason


@contextmanager
def _full_listener():
    """A listener whose queue is full answers nobody."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)  # noqa: FBT003 - the socket module's signature
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_tls_handshake_that_fails_did_nothing():
    with served() as wire, participants(wire.url.replace("http:", "https:")) as adapter:
        wire.greeting = b"HTTP/1.1 400 this port speaks HTTP\r\n\r\n"

        assert type(adapter.call(TASK).outcome) is Unavailable


def test_a_tls_handshake_that_takes_too_long_did_nothing(monkeypatch):
    monkeypatch.setattr(http_participants, "CONNECT_TIMEOUT", SHORT)
    with served() as wire, participants(wire.url.replace("http:", "https:")) as adapter:
        assert type(adapter.call(TASK).outcome) is Unavailable


@pytest.mark.parametrize("url", ["http://", "http://[::1", "ftp://127.0.0.1", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_did_nothing(url):
    with participants(url) as adapter:
        assert type(adapter.call(TASK).outcome) is Unavailable


def test_a_service_without_an_address_is_named():
    with participants("http://127.0.0.1:1") as adapter:
        outcome = adapter.call(replace(TASK, service="wallet")).outcome

    assert outcome == Unavailable("no URL is configured for the service 'wallet'")


def test_silence_may_hide_an_effect():
    with served() as wire, participants(wire.url) as adapter:
        wire.use(wire.silence)
        started = time.monotonic()
        outcome = adapter.call(replace(TASK, timeout=SHORT)).outcome

        assert outcome == Unknown("no answer in time")
        assert SHORT <= time.monotonic() - started < SOON


DRIPS = {
    "the status line": (b"", b"H"),
    "the headers": (b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Drip: ", b"1"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    "the chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a body without end": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
}


@pytest.mark.parametrize("place", DRIPS)
def test_a_drip_ends_when_the_time_is_up_wherever_it_drips(place):
    with served() as wire, participants(wire.url) as adapter:
        wire.use(wire.drip(*DRIPS[place], SHORT / 10))
        started = time.monotonic()
        outcome = adapter.call(replace(TASK, timeout=SHORT)).outcome

        assert type(outcome) is Unknown
        assert time.monotonic() - started < SOON


def test_silence_after_a_beginning_ends_when_the_time_of_the_whole_is_up():
    with served() as wire, participants(wire.url) as adapter:
        begin_late = then(lambda _: wire.stopped.wait(0.8), say(answer()[:-3]), wire.silence)
        wire.use(begin_late)
        started = time.monotonic()
        outcome = adapter.call(replace(TASK, timeout=1.0)).outcome

        assert type(outcome) is Unknown
        assert time.monotonic() - started < 1.6, "and not 0.8 s and then another second"


def test_a_time_that_is_already_up_may_hide_an_effect(monkeypatch):
    ticks = count(step=10)
    monkeypatch.setattr(http_connection, "time", SimpleNamespace(monotonic=lambda: next(ticks)))

    assert outcome_of(say(answer())) == Unknown("no answer in time")


def test_a_slow_answer_within_the_time_is_an_answer():
    def slowly(connection):
        for byte in answer(201, b'{"id": 7}'):
            connection.sendall(bytes([byte]))

    assert outcome_of(slowly) == Succeeded({"id": 7})


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(close, id="closed"),
        pytest.param(reset, id="reset"),
        pytest.param(then(say(b"HTTP/1.1 200"), close), id="closed in the status line"),
        pytest.param(then(say(b"HTTP/1.1 201 Created\r\nContent-Le"), close), id="closed in the headers"),
        pytest.param(then(say(answer()[:-3]), close), id="closed in the body"),
        pytest.param(then(say(answer()[:-3]), reset), id="reset in the body"),
        pytest.param(then(say(answer(409)[:-3]), close), id="closed in a refusal"),
        pytest.param(say(b"220 mail.example ESMTP\r\n"), id="not HTTP"),
        pytest.param(say(b"HTTP/1.1 abc OK\r\n\r\n"), id="no status"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456"), id="two lengths"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * 200 + b"\r\n"), id="headers without end"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n"), id="a header without end"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="wrong chunks"),
        pytest.param(
            then(say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"), close), id="chunks that end"
        ),
    ],
)
def test_an_answer_that_breaks_off_or_makes_no_sense_may_hide_an_effect(script):
    assert type(outcome_of(script)) is Unknown


def test_an_answer_larger_than_any_is_not_read_to_its_end():
    with (
        served(then(say(answer(200, b'"' + b"x" * MAX_BODY + b'"')), close)) as wire,
        participants(wire.url) as adapter,
    ):
        outcome = adapter.call(TASK).outcome

    assert type(outcome) is Unknown
    assert str(MAX_BODY) in outcome.reason


def test_chunks_are_an_answer_like_any_other():
    chunks = b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n'

    assert outcome_of(say(chunks)) == Succeeded({"a": 1})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("task", [TASK, READ], ids=["POST", "GET"])
def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(status, task):
    with served() as elsewhere, served(say(answer(status, b"", f"Location: {elsewhere.url}/"))) as wire:
        with participants(wire.url) as adapter:
            outcome = adapter.call(task).outcome

        assert outcome == Unknown(f"HTTP {status}")
        assert elsewhere.connections == 0


def test_no_proxy_of_the_environment_sees_a_call(monkeypatch):
    with served() as proxy, served() as wire, participants(wire.url) as adapter:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)

        assert adapter.call(TASK).outcome == Succeeded({"ok": True})
        assert (proxy.connections, wire.connections) == (0, 1)


def test_a_connection_that_was_closed_while_idle_is_replaced_without_a_failure():
    with served(then(say(answer()), close), say(answer())) as wire, participants(wire.url) as adapter:
        assert adapter.call(TASK).outcome == Succeeded({"ok": True})
        _until_closed(adapter)

        assert adapter.call(TASK).outcome == Succeeded({"ok": True})
        assert wire.connections == 2


@pytest.mark.parametrize("end", [close, reset], ids=["closed", "reset"])
def test_a_reused_connection_that_dies_under_a_call_may_hide_an_effect(end):
    with served(say(answer()), end, say(answer(201))) as wire, participants(wire.url) as adapter:
        outcomes = [adapter.call(TASK).outcome for _ in range(3)]

        assert [type(outcome) for outcome in outcomes] == [Succeeded, Unknown, Succeeded]
        assert len(wire.requests) == 3, "the adapter repeats nothing: only the saga knows whether that is safe"


def _until_closed(adapter):
    """The server's FIN has arrived in the idle connection."""
    (pool,) = adapter._adapter()._pools.values()
    idle = pool.pool.queue[-1]
    idle.sock.settimeout(SOON)
    assert idle.sock.recv(1, socket.MSG_PEEK) == b""


def test_after_an_answer_that_broke_off_the_next_call_starts_anew():
    with served(say(answer()[:-3]), say(answer(409))) as wire, participants(wire.url) as adapter:
        assert type(adapter.call(replace(TASK, timeout=SHORT)).outcome) is Unknown
        assert type(adapter.call(TASK).outcome) is Rejected
        assert wire.connections == 2
