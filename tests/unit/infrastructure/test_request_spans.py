"""Which requests are spans: whatever may start or move a saga, and not what is asked for every few seconds."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from infrastructure import tracing

GIVEN = f"00-{'a' * 32}-{'b' * 16}-01"
OWN = f"00-{'a' * 32}-{'c' * 16}-01"


class Sent(list):
    """A tracer that keeps what it is sent."""

    def begin(self, given):
        assert given in {GIVEN, None}
        return OWN

    def send(self, spans):
        self.extend(spans)


@pytest.fixture
def sent(monkeypatch):
    found = Sent()
    monkeypatch.setattr(tracing, "tracer", lambda: found)
    return found


def asked(method, path):
    """The `traceparent` that the request has for what it starts."""
    seen = []

    def answer(request):
        seen.append(request.META.get("HTTP_TRACEPARENT"))
        return HttpResponse()

    tracing.RequestSpans(answer)(RequestFactory().generic(method, path, headers={"traceparent": GIVEN}))
    return seen[0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/sagas/start/"),
        ("GET", "/api/sagas/transactions/"),
        ("POST", "/console/workflows/commandes/start/"),
        ("POST", "/console/sagas/0/retry/"),
    ],
)
def test_a_request_is_a_span_below_its_client_and_what_it_starts_is_below_it(sent, method, path):
    assert asked(method, path) == OWN
    assert [(span.id, span.parent) for span in sent] == [("c" * 16, "b" * 16)]


@pytest.mark.parametrize("path", ["/console/", "/console/statistics/", "/health", "/metrics/", "/static/x.css"])
def test_what_is_only_watched_is_no_span(sent, path):
    assert asked("GET", path) == GIVEN
    assert sent == []
