"""How long a client waits, from its Prefer header (RFC 7240)."""

import pytest

from interfaces.starting import DEFAULT_WAIT, wait_budget


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", DEFAULT_WAIT),
        ("wait=5", 5),
        ("WAIT=5", 5),
        ("wait=0", 0),
        ("wait=9999", 9999),
        ("wait=9999999999", DEFAULT_WAIT),
        ("respond-async", 0),
        ("Respond-Async", 0),
        ("respond-async, wait=5", 5),
        ("wait=5, respond-async", 5),
        ("return=minimal; wait=5", 5),
        ("return=minimal,respond-async", 0),
        *((nonsense, DEFAULT_WAIT) for nonsense in ("wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "await=5")),
        *((nonsense, DEFAULT_WAIT) for nonsense in ("respond-asynchronously", "do-not-respond-async", "wait=٣")),
    ],
)
def test_a_preference_is_followed_as_far_as_it_is_understood(prefer, seconds):
    assert wait_budget(prefer) == seconds
