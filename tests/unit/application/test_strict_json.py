"""What messages say as JSON: the same values, and the same refusals, as of the API."""

import json

import pytest
from rest_framework.exceptions import ParseError

from application.strict_json import DEEPEST, decoded
from interfaces.wire import strict_json

GOOD = [
    "2.0",
    "-0.0",
    "1e3",
    "2.5",
    "1e300",
    "1" * 30,
    "9007199254740993.0",
    '"\\u00e9\\ud83d\\ude00"',
    '{"a": [null]}',
]
BAD = [
    "",
    "{",
    "NaN",
    "Infinity",
    "1e400",
    "-1e400",
    '"\\u0000"',
    '"\\ud800"',
    '"a\\udc00"',
    '{"\\u0000": 1}',
    "01",
    "[1,]",
]


@pytest.mark.parametrize("text", [*GOOD, "[" * DEEPEST + "]" * DEEPEST])
def test_a_message_means_what_a_request_means(text):
    assert json.dumps(decoded(text.encode())) == json.dumps(strict_json(text.encode()))


@pytest.mark.parametrize("body", [*(text.encode() for text in BAD), b"\xff", b"[" * 65 + b"]" * 65, b"[" * 10**5])
def test_what_no_request_may_say_no_message_may_say(body):
    with pytest.raises(ValueError, match=r"."):
        decoded(body)
    with pytest.raises(ParseError):
        strict_json(body)
