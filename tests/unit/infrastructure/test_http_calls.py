"""What goes out to a participant: exactly the agreed headers, over few connections, several calls at once."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from wire import READ, SAGA, TASK, answer, participants, say, served

from application.trace_context import call_traceparent
from domain.events import Action
from domain.outcomes import Rejected, Succeeded, Unknown
from infrastructure.guard import Guard

SENT = {
    "x-api-key": "the-gateway-key",
    "idempotency-key": f"{SAGA}:reservation_stock[1]:do",
    "x-correlation-id": "desk-7",
    "x-saga-id": str(SAGA),
    "x-saga-deadline": "2026-01-31T12:00:30+00:00",
    "traceparent": call_traceparent(TASK),
    "user-agent": "saga-orchestrator",
    "accept-encoding": "identity",
}


def sent(task):
    """The one request that the call makes: its first line, its headers in lower case, its body."""
    with served() as wire, participants(wire.url) as adapter:
        adapter.call(task)
        head, _, body = wire.requests[0].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        assert len(dict(headers)) == len(headers), "no header twice"
        assert dict(headers).pop("host") == wire.url.removeprefix("http://")
        return first, {name: value for name, value in headers if name != "host"}, body


def test_a_call_with_a_body_carries_the_agreed_headers_and_nothing_else():
    first, headers, body = sent(TASK)

    assert first == "POST /reservations/ HTTP/1.1"
    assert headers == {**SENT, "content-type": "application/json", "content-length": str(len(body))}
    assert json.loads(body) == {"quantite": 2}


def test_a_read_has_no_body():
    first, headers, body = sent(READ)

    assert (first, headers, body) == ("GET /reservations/ HTTP/1.1", SENT, b"")


def test_a_call_with_an_effect_and_no_body_says_so():
    _, headers, body = sent(replace(TASK, method="DELETE", body=None))

    assert (headers, body) == ({**SENT, "content-length": "0"}, b"")


@pytest.mark.parametrize("correlation", ["\u2615", "a\r\nX-Evil: 1", "a\0b", ""])
@pytest.mark.parametrize("action", [Action.DO, Action.UNDO])
def test_a_request_that_cannot_be_built_is_certainly_not_done_and_opens_no_circuit(correlation, action):
    opened = []
    guard = Guard(failures=1, observe=lambda *change: opened.append(change))
    with served(say(answer())) as wire, participants(wire.url, guard=guard) as adapter:
        unsendable = replace(TASK, correlation_id=correlation, attempt=replace(TASK.attempt, action=action))
        for _ in range(3):
            reply = adapter.call(unsendable)
            assert isinstance(reply.outcome, Rejected)
            assert reply.outcome.reason.startswith("the request cannot be built: ")
        assert isinstance(adapter.call(TASK).outcome, Succeeded)
        assert len(wire.requests) == 1
        assert [change for change in opened if change[1]] == []


def test_a_body_that_is_no_json_is_not_sent():
    with served() as wire, participants(wire.url, guard=Guard(failures=1)) as adapter:
        assert isinstance(adapter.call(replace(TASK, body={"nom": "\ud800"})).outcome, Rejected)
        assert wire.requests == []


def test_accents_travel_as_utf_8():
    assert json.loads(sent(replace(TASK, body={"nom": "Thé vert"}))[2]) == {"nom": "Thé vert"}


def test_a_query_is_quoted_and_its_truths_are_json_words():
    first, _, _ = sent(replace(READ, path="/b%20c/", query={"user_id": "a&b=c é", "n": 2, "live": True}))

    assert first == "GET /b%20c/?user_id=a%26b%3Dc+%C3%A9&n=2&live=true HTTP/1.1"


def test_the_path_of_the_address_stays_before_the_path_of_the_call():
    with served() as wire, participants(f"{wire.url}/api/inventaire/") as adapter:
        adapter.call(READ)

        assert wire.requests[0].startswith(b"GET /api/inventaire/reservations/ ")


def test_the_trace_is_the_saga_and_each_attempt_is_a_span_of_its_own():
    again = replace(TASK, attempt=replace(TASK.attempt, number=3, seq=8))
    traces = [call_traceparent(task) for task in (TASK, again)]

    assert all(re.fullmatch(rf"00-{SAGA.hex}-[0-9a-f]{{16}}-00", trace) for trace in traces)
    assert len(set(traces)) == 2


def test_calls_of_one_thread_share_a_connection():
    with served() as wire, participants(wire.url) as adapter:
        for task in (TASK, READ, replace(TASK, method="DELETE", body=None)) * 5:
            assert adapter.call(task).outcome == Succeeded({"ok": True})

        assert (len(wire.requests), wire.connections) == (15, 1)


@pytest.mark.parametrize(
    "first", [answer(204, b""), answer(409), answer(200, b"<html>"), answer(503, b"", "Retry-After: 1")]
)
def test_whatever_was_answered_the_connection_is_used_again(first):
    with served(say(first), say(answer())) as wire, participants(wire.url) as adapter:
        adapter.call(TASK)
        adapter.call(TASK)

        assert wire.connections == 1


def test_each_thread_has_a_connection_of_its_own():
    gate = threading.Barrier(3, timeout=10)

    def call(_):
        gate.wait()
        return [adapter.call(TASK).outcome for _ in range(4)]

    with served() as wire, participants(wire.url) as adapter, ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(call, range(3)))

        assert outcomes == [[Succeeded({"ok": True})] * 4] * 3
        assert wire.connections == 3


def test_several_calls_go_out_at_once_and_each_reply_comes_with_its_call():
    tasks = [replace(TASK, item=item, path=f"/reservations/{item}/") for item in range(6)]
    gate = threading.Barrier(len(tasks), timeout=10)

    def once_all_have_arrived(connection):
        gate.wait()
        connection.sendall(answer())

    with served(once_all_have_arrived) as wire, participants(wire.url) as adapter:
        replies = list(adapter.call_all(tasks))

        assert sorted(task.item for task, _ in replies) == list(range(6))
        assert all(reply.outcome == Succeeded({"ok": True}) for _, reply in replies)
        assert {request.split(b" ")[1].decode() for request in wire.requests} == {task.path for task in tasks}


def test_a_reply_does_not_wait_for_a_slower_one():
    slow_may_go = threading.Event()

    def by_item(connection):
        if b"/slow/" in wire.requests[-1]:
            slow_may_go.wait(10)
        connection.sendall(answer())

    tasks = [replace(TASK, item=0, path="/slow/"), replace(TASK, item=1, path="/quick/")]
    with served(by_item) as wire, participants(wire.url) as adapter:
        wire.use(by_item)
        replies = adapter.call_all(tasks)
        first = next(replies)[0].item
        slow_may_go.set()

        assert (first, [task.item for task, _ in replies]) == (1, [0])


def test_a_single_call_needs_no_other_thread():
    seen = []
    with served() as wire, participants(wire.url, observe=lambda *_: seen.append(threading.get_ident())) as adapter:
        assert list(adapter.call_all([])) == []
        list(adapter.call_all([TASK]))

    assert seen == [threading.get_ident()]


def test_whoever_counts_is_told_of_every_call_however_it_ended():
    told = []
    with served(say(answer(201))) as wire:
        with participants(wire.url, observe=lambda *call: told.append(call)) as adapter:
            adapter.call(TASK)
        with participants("http://participant.invalid", observe=lambda *call: told.append(call)) as adapter:
            adapter.call(READ)

    assert [(facts.service, facts.method, facts.status, outcome.kind) for facts, outcome in told] == [
        ("inventaire", "POST", 201, "succeeded"),
        ("inventaire", "GET", None, "unavailable"),
    ]
    assert all(0 < facts.duration < 20 for facts, _ in told)


def test_the_time_of_a_call_is_its_steps_own():
    with served() as wire, participants(wire.url) as adapter:
        wire.use(wire.silence)

        reply = adapter.call(replace(TASK, timeout=0.1))

    assert reply.outcome == Unknown("no answer in time")
    assert 0.1 <= reply.facts.duration < 2
