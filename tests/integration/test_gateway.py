"""The development gateway as a real process, in front of a real HTTP server, against what Kong was measured to do."""

import re
import time

import pytest
import yaml

from tests.integration.gateway_process import (
    BAD_GATEWAY,
    KONG_FILE,
    NO_ROUTE,
    READER,
    SHOP,
    STRANGER,
    Upstream,
    assert_own_answer,
    call,
    gateways,
    running_upstream,
)

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    with running_upstream() as upstream, gateways(lambda: tmp_path_factory.mktemp("gateway"), upstream) as starter:
        yield starter


@pytest.fixture(scope="module")
def gateway(start):
    return start().listen


@pytest.fixture
def kong():
    return yaml.safe_load(KONG_FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("headers", "path", "message"),
    [
        ([], "/api/inventaire/x", "No API key found in request"),
        ([("X-API-Key", "")], "/api/inventaire/x", "No API key found in request"),
        ([], f"/api/inventaire/x?X-API-Key={SHOP}&apikey={SHOP}", "No API key found in request"),
        ([("X-API-Key", "nobody's")], "/api/inventaire/x", "Unauthorized"),
        ([("X-API-Key", SHOP.upper())], "/api/inventaire/x", "Unauthorized"),
        ([("X-API-Key", SHOP + "x")], "/api/saga/x", "Unauthorized"),
        ([("X-API-Key", SHOP), ("X-API-Key", SHOP)], "/api/saga/x", "Duplicate API key found"),
    ],
)
def test_a_caller_without_a_valid_key_is_refused_and_the_service_never_sees_the_call(gateway, headers, path, message):
    before = Upstream.calls.total()
    answer = call(gateway, "GET", path, *headers, key=None)
    assert_own_answer(answer, 401, message)
    assert answer.headers["WWW-Authenticate"] == "Key"
    assert UUID.fullmatch(answer.headers["X-Correlation-ID"])
    assert "RateLimit-Remaining" not in answer.headers
    assert Upstream.calls.total() == before


@pytest.mark.parametrize(
    ("key", "path"), [(STRANGER, "/api/inventaire/x"), (STRANGER, "/api/saga/x"), (READER, "/api/inventaire/x")]
)
def test_a_consumer_outside_the_groups_is_refused(gateway, key, path):
    assert_own_answer(call(gateway, "POST", path, key=key, body=b"{}"), 403, "You cannot consume this service")


@pytest.mark.parametrize("key", [SHOP, READER, "saga-admin-dev-key"])
def test_every_saga_group_reaches_the_orchestrator(gateway, key):
    assert call(gateway, "GET", "/api/saga/commandes/", key=key).json["path"] == "/api/saga/commandes/"


@pytest.mark.parametrize("key", [None, SHOP])
@pytest.mark.parametrize(
    "path", ["/", "/api/inventairexyz", "/api/inventairexyz/x", "/api/sagasx/", "/API/inventaire/", "/x/../api"]
)
def test_an_unrouted_path_is_not_found_before_any_key_is_asked_for(gateway, path, key):
    assert_own_answer(call(gateway, "GET", path, key=key), 404, NO_ROUTE)


@pytest.mark.parametrize(
    ("path", "upstream_path"),
    [
        ("/api/inventaire", "/"),
        ("/api/inventaire/", "/"),
        ("/api/inventaire?a=1&b=%20", "/?a=1&b=%20"),
        ("/api/inventaire/api/ddd/x/?key=s:reserve[1]:do", "/api/ddd/x/?key=s:reserve[1]:do"),
        ("/api/inventaire/a%2Fb/%C3%A9%20c//d", "/a%2Fb/%C3%A9%20c//d"),
        ("/api/saga/commandes/?etat=X", "/api/saga/commandes/?etat=X"),
        ("/api/sagas", "/api/sagas"),
        ("/swagger/?format=openapi", "/swagger/?format=openapi"),
        ("/health", "/health"),
    ],
)
def test_the_prefix_is_taken_off_where_kong_says_so_and_nothing_else_changes(gateway, path, upstream_path):
    assert call(gateway, "GET", path).json["path"] == upstream_path


@pytest.mark.parametrize(
    "path", ["/api/inventaire/../saga/x", "/api/saga/../inventaire/x", "/api/saga/%2e%2e/inventaire/x"]
)
def test_dot_segments_do_not_lead_from_one_service_to_another(gateway, path):
    assert_own_answer(call(gateway, "GET", path), 404, NO_ROUTE)


def test_the_service_learns_who_called_and_not_the_key(gateway):
    received = call(gateway, "GET", "/api/inventaire/x", ("X-Forwarded-For", "10.0.0.9")).received
    assert "x-api-key" not in received
    assert received["x-consumer-username"] == "magasin"
    assert received["x-consumer-id"] == "6d0f9c52-5f0b-4c55-9d2e-0a4b6f1f7a01"
    assert received["x-credential-identifier"] == "6d0f9c52-5f0b-4c55-9d2e-0a4b6f1f7b01"
    assert received["x-consumer-groups"] == "participants, saga-client, saga-operator"
    assert received["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
    assert (received["x-forwarded-proto"], received["x-forwarded-host"]) == ("http", "127.0.0.1")
    assert (received["x-forwarded-port"], received["x-forwarded-path"]) == (gateway.split(":")[1], "/api/inventaire/x")
    assert received["via"] == "1.1 kong/3.9.3"
    assert (received["host"], received["x-real-ip"]) == ("inventaire:8000", "127.0.0.1")
    assert call(gateway, "GET", "/api/saga/x").received["host"] == gateway


def test_what_a_client_claims_about_itself_is_replaced(gateway):
    claimed = ("X-Consumer-Groups", "X-Consumer-Username", "X-Consumer-ID", "X-Consumer-Custom-ID", "X-Gateway-Secret")
    claims = [(name, "saga-admin") for name in (*claimed, "X-Credential-Identifier", "X_Consumer_Groups")]
    answer = call(gateway, "GET", "/api/saga/x", *claims, key=READER)
    assert "saga-admin" not in answer.body.decode()
    assert answer.received["x-consumer-groups"] == "saga-reader"
    assert answer.received["x-gateway-secret"] == "dev-gateway-secret"
    assert "x-gateway-secret" not in call(gateway, "GET", "/api/inventaire/x").received


def test_the_headers_that_a_saga_rests_on_arrive_untouched(gateway):
    sent = {"Idempotency-Key": "s:reserve[1]:do", "Authorization": "Bearer x", "traceparent": "00-a-b-01"}
    received = call(gateway, "POST", "/api/inventaire/x", *sent.items(), body=b"{}").received
    assert {name: received[name.lower()] for name in sent} == sent


def test_a_correlation_id_is_kept_or_made_and_comes_back(gateway):
    kept = call(gateway, "GET", "/api/inventaire/x", ("X-Correlation-ID", "mine-1"))
    assert (kept.received["x-correlation-id"], kept.headers.get_all("X-Correlation-ID")) == ("mine-1", ["mine-1"])
    made = call(gateway, "GET", "/api/inventaire/x")
    assert UUID.fullmatch(made.headers["X-Correlation-ID"])
    assert made.received["x-correlation-id"] == made.headers["X-Correlation-ID"]


@pytest.mark.parametrize("status", [200, 201, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504])
def test_what_the_service_answers_passes_unchanged_and_says_that_it_passed(gateway, status):
    answer = call(gateway, "POST", f"/api/inventaire/status/{status}", body=b"{}")
    assert (answer.status, answer.json["path"]) == (status, f"/status/{status}")
    assert answer.headers.get_all("Retry-After") == ["7"]
    assert (answer.headers["Content-Type"], answer.headers["Server"]) == ("application/problem+json", "upstream/1")
    assert answer.headers["Via"] == "1.1 kong/3.9.3"
    assert answer.headers["X-Kong-Upstream-Latency"].isdigit()
    assert answer.headers["X-Kong-Proxy-Latency"].isdigit()
    assert answer.headers["X-Kong-Request-Id"] == answer.received["x-kong-request-id"]
    assert "X-Kong-Response-Latency" not in answer.headers


def test_a_refused_connection_is_a_bad_gateway(gateway):
    answer = call(gateway, "POST", "/api/commandes/x", body=b"{}")
    assert_own_answer(answer, 502, BAD_GATEWAY, sent=True)
    assert UUID.fullmatch(answer.headers["X-Correlation-ID"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/reset", "/invalid"])
def test_a_broken_answer_is_a_bad_gateway_and_the_call_is_not_repeated(gateway, method, path):
    before = Upstream.calls[path]
    answer = call(gateway, method, f"/api/inventaire{path}", body=b"{}" if method == "POST" else None)
    assert_own_answer(answer, 502, BAD_GATEWAY, sent=True)
    assert Upstream.calls[path] == before + 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_slow_service_is_given_up_after_its_own_timeout_and_not_called_again(start, kong, method):
    for service in kong["services"]:
        service["read_timeout"] = 150
    listen = start(kong).listen
    before = Upstream.calls["/slow"]
    answer = call(listen, method, "/api/inventaire/slow", body=b"{}" if method == "POST" else None)
    assert_own_answer(answer, 504, "The upstream server is timing out", sent=True)
    assert Upstream.calls["/slow"] == before + 1


def test_a_host_that_nobody_resolved_is_answered_as_a_name_that_does_not_resolve(gateway):
    assert_own_answer(call(gateway, "GET", "/api/catalogue/x"), 503, "name resolution failed")
    assert_own_answer(call(gateway, "GET", "/api/catalogue/x", key=STRANGER), 403, "You cannot consume this service")


def test_eight_megabytes_pass_and_more_is_refused(gateway):
    limit = 8 * 1024 * 1024
    assert call(gateway, "POST", "/api/inventaire/x", body=b"x" * limit).json["size"] == limit
    assert call(gateway, "POST", "/api/inventaire/x", ("Content-Length", str(limit + 1))).status == 413


def limited_calls(listen, times):
    """Answers within one clock minute, which is when a limit counts."""
    while True:
        minute = time.time() // 60
        answers = [call(listen, "GET", "/api/saga/x", key=READER) for _ in range(times)]
        if time.time() // 60 == minute:
            return answers


def test_a_consumer_over_its_limit_waits_for_the_next_minute_and_others_do_not(start, kong):
    saga = next(service for service in kong["services"] if service["name"] == "saga")
    next(plugin for plugin in saga["plugins"] if plugin["name"] == "rate-limiting")["config"]["minute"] = 3
    listen = start(kong).listen
    for _ in range(5):
        assert call(listen, "GET", "/api/saga/x", key=None).status == 401  # does not count
    *allowed, refused = limited_calls(listen, 4)
    assert [answer.headers["RateLimit-Remaining"] for answer in allowed] == ["2", "1", "0"]
    assert_own_answer(refused, 429, "API rate limit exceeded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
    limits = ("RateLimit-Limit", "RateLimit-Remaining", "X-RateLimit-Limit-Minute", "X-RateLimit-Remaining-Minute")
    assert [refused.headers[name] for name in limits] == ["3", "0", "3", "0"]
    assert call(listen, "GET", "/api/saga/x", key=SHOP).status == 200
