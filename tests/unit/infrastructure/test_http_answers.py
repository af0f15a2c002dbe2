"""What an answer says about what was done: the outcome table, and what real gateways put into their answers."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPHeaderDict

from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from infrastructure.http_participants import DEEPEST, MAX_RETRY_AFTER, classify, retry_after

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
GATEWAYS_OWN = {"X-Kong-Response-Latency": "0", "X-Kong-Request-Id": "8f1", "Content-Type": "application/json"}
PASSED_ON = {"Via": "1.1 kong/3.9.3", "X-Kong-Upstream-Latency": "3", "X-Kong-Proxy-Latency": "1"}
DIRECT: dict[str, str] = {}


def judged(status, headers=DIRECT, body=b'{"message": "no"}'):
    return classify(status, HTTPHeaderDict(headers), body)


@pytest.mark.parametrize("sender", [PASSED_ON, DIRECT], ids=["through the gateway", "direct"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Succeeded) for status in (200, 201, 202, 204, 299)),
        *((status, Rejected) for status in (400, 402, 404, 405, 409, 410, 412, 413, 415, 422, 423, 451)),
        *((status, Unavailable) for status in (401, 403, 425, 429)),
        *((status, Unknown) for status in (408, 500, 501, 502, 503, 504, 507, 599)),
        *((status, Unknown) for status in (301, 302, 303, 304, 307, 308, 600, 999)),
    ],
)
def test_a_participants_own_status_says_what_was_done(sender, status, kind):
    assert type(judged(status, sender)) is kind


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "No API key found in request", Unavailable),
        (403, "You cannot consume this service", Unavailable),
        (404, "no Route matched with those values", Unavailable),
        (413, "Request body too large", Unavailable),
        (429, "API rate limit exceeded", Unavailable),
        (503, "failure to get a peer from the ring-balancer", Unavailable),
        (503, "name resolution failed", Unavailable),
        (502, "An invalid response was received from the upstream server", Unknown),
        (504, "The upstream server is timing out", Unknown),
        (500, "An unexpected error occurred", Unknown),
        (408, "Request timeout", Unknown),
    ],
)
def test_what_the_gateway_says_itself_was_never_sent_unless_it_may_have_been(status, message, kind):
    body = json.dumps({"message": message, "request_id": "8f1"}).encode()

    outcome = judged(status, GATEWAYS_OWN, body)

    assert type(outcome) is kind
    assert outcome.reason == f"HTTP {status}: {message}"


@pytest.mark.parametrize("status", [404, 413])
def test_a_via_makes_the_same_answer_the_participants_refusal(status):
    assert type(judged(status, {**GATEWAYS_OWN, **PASSED_ON})) is Rejected


def test_header_names_are_recognised_in_any_case():
    assert type(judged(404, {"x-kong-response-latency": "1"})) is Unavailable
    assert judged(429, {"retry-after": "3"}) == Unavailable("HTTP 429", 3.0)


@pytest.mark.parametrize("status", [401, 403, 425, 429, 503])
def test_a_wait_that_is_asked_for_is_passed_on(status):
    assert judged(status, {**PASSED_ON, "Retry-After": "7"}).retry_after == 7.0


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_wait_that_is_asked_for_makes_no_other_failure_certain(status):
    assert type(judged(status, {**PASSED_ON, "Retry-After": "7"})) is Unknown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 12 ", 12.0),
        ("999999999", MAX_RETRY_AFTER),
        ("Sat, 31 Jan 2026 12:01:30 GMT", 90.0),
        ("Saturday, 31-Jan-26 12:00:10 GMT", 10.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("Sat, 31 Jan 2032 12:00:00 GMT", MAX_RETRY_AFTER),
        (None, None),
        *((nonsense, None) for nonsense in ("", "soon", "-5", "1.5", "1e3", "٣x", "7 seconds", "Mon, 99 Jan 2026")),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("99999999999999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms_and_nonsense_is_nothing(text, seconds):
    assert retry_after(text, NOW) == seconds


@given(st.one_of(st.text(), st.from_regex(r"(Mon|Sat), \d+ (Jan|Feb) \d+ \d+:\d+:\d+ [+-]?\w+")))
def test_no_retry_after_breaks_the_call(text):
    seconds = retry_after(text, NOW)

    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_success_is_a_success_with_nothing_to_say(body):
    assert judged(204, body=body) == Succeeded(None)
    assert judged(200, body=body) == Succeeded(None)


@pytest.mark.parametrize("body", [b"null", b"0", b'""', b"[]", b"{}"])
def test_any_json_is_an_output(body):
    assert judged(200, body=body) == Succeeded(json.loads(body))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<!doctype html><title>Sign in</title>", id="a page"),
        pytest.param(b'{"reservation_id": "10', id="half an answer"),
        pytest.param(b'{"total": NaN}', id="NaN"),
        pytest.param(b'{"total": 1e999}', id="a number beyond numbers"),
        pytest.param(b'{"nom": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"nom": "\xed\xa0\x80"}', id="a surrogate in UTF-8"),
        pytest.param(b'{"nom": "\\ud800"}', id="a lone surrogate"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param(b'{"nom": "a\\u0000b"}', id="NUL in a text"),
        pytest.param(b'{"no\\u0000m": 1}', id="NUL in a name"),
        pytest.param(b'[[{"a": ["\\u0000"]}]]', id="NUL further in"),
        pytest.param(b"[" * 5000 + b"]" * 5000, id="deeper than Python"),
        pytest.param(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), id="too deep"),
    ],
)
def test_a_success_that_cannot_be_read_or_kept_may_have_been_done(body):
    outcome = judged(200, body=body)

    assert type(outcome) is Unknown
    assert outcome.reason.startswith("unreadable answer: 200 with ")


def test_what_only_looks_like_a_nul_or_is_merely_deep_or_wide_is_kept():
    deep = b"[" * DEEPEST + b"]" * DEEPEST

    assert judged(200, body=b'"\\\\u0000"') == Succeeded("\\u0000")
    assert type(judged(200, body=deep)) is Succeeded
    assert type(judged(200, body=b"[" + b"{}," * 500 + b"{}]")) is Succeeded


@given(st.binary(max_size=200), st.integers(100, 999))
def test_no_answer_breaks_the_call(body, status):
    assert type(judged(status, {"Content-Type": "application/json"}, body)) in {
        Succeeded, Rejected, Unavailable, Unknown,
    }  # fmt: skip


@pytest.mark.parametrize("word", ["detail", "message", "erreur", "error", "reason", "title"])
def test_a_person_reads_the_participants_own_words(word):
    body = json.dumps({"code": "stock_insuffisant", word: "plus que 5"}).encode()

    assert judged(409, {"Content-Type": "application/problem+json"}, body) == Rejected("HTTP 409: plus que 5")


@pytest.mark.parametrize(
    "body", [b"<h1>no</h1>", b"[1]", b'{"detail": {"a": 1}}', b'{"detail": "\xed\xa0\x80"}', b'"' * 3, b""]
)
def test_an_answer_without_words_gives_its_status(body):
    assert judged(409, {"Content-Type": "application/json"}, body) == Rejected("HTTP 409")


def test_words_are_cut_and_lose_what_cannot_be_stored():
    body = json.dumps({"detail": "a\0b" + "c" * 1000}).encode()

    reason = judged(409, {"Content-Type": "application/json"}, body).reason

    assert "\0" not in reason
    assert reason.startswith("HTTP 409: abc")
    assert len(reason) == 500
