"""Requests that make no sense are refused in words, field by field, and leave nothing behind."""

import io
import json

import api_support
import pytest
from api_support import ORDER, ORDERS, PRODUCT, START, UNKNOWN_ID, problem, stored
from django.test import RequestFactory
from django.test.client import ClientHandler

from interfaces.wire import measured

api = api_support.api

LINE = ORDER["lignes"][0]
UUID_TEXT = "client_id"


def order(**changes):
    return {**ORDER, **changes}


def line(**changes):
    return order(lignes=[{**LINE, **changes}])


def without(value, name):
    return {key: part for key, part in value.items() if key != name}


WRONG_ORDERS = {
    "no client": (without(ORDER, "client_id"), "client_id"),
    "no shop": (without(ORDER, "magasin_id"), "magasin_id"),
    "no lines": (without(ORDER, "lignes"), "lignes"),
    "client is no UUID": (order(client_id="nobody"), "client_id"),
    "client is a number": (order(client_id=7), "client_id"),
    "client is null": (order(client_id=None), "client_id"),
    "client is almost a UUID": (order(client_id=ORDER["client_id"] + "0"), "client_id"),
    "shop is a path": (order(magasin_id="../../admin"), "magasin_id"),
    "an order without lines": (order(lignes=[]), "lignes"),
    "201 lines": (order(lignes=[LINE] * 201), "lignes"),
    "lines are an object": (order(lignes={"0": LINE}), "lignes"),
    "a line is a text": (order(lignes=["coffee"]), "lignes[0]"),
    "a line without a product": (order(lignes=[without(LINE, "produit_id")]), "lignes[0].produit_id"),
    "a line without a quantity": (order(lignes=[without(LINE, "quantite")]), "lignes[0].quantite"),
    "the second line": (order(lignes=[LINE, {**LINE, "quantite": 0}]), "lignes[1].quantite"),
    "product is no UUID": (line(produit_id="coffee"), "lignes[0].produit_id"),
    **{
        f"quantity {quantity!r}": (line(quantite=quantity), "lignes[0].quantite")
        for quantity in (0, -1, 10001, 2.5, True, "2", None, [2], 10**400)
    },
}


@pytest.mark.parametrize("case", WRONG_ORDERS)
def test_a_wrong_order_is_refused_by_its_field_and_leaves_nothing(api, case):
    body, field = WRONG_ORDERS[case]

    for answer in (api.order(body), api.post(START, {"workflow": "commandes", "input": body})):
        errors = problem(answer, 400, "input_invalid")["errors"]
        assert list(errors) == [field]
        assert all(isinstance(text, str) and text for text in errors[field])
    assert stored() == {"sagas": 0, "events": 0}
    assert api.participants.calls == []


@pytest.mark.parametrize(
    ("body", "place"), [(order(remise=10), "input"), (line(prix_unitaire=0.01), "lignes[0]")], ids=["order", "line"]
)
def test_an_unknown_field_is_refused_by_name(api, body, place):
    errors = problem(api.order(body), 400, "input_invalid")["errors"]

    assert ("remise" if place == "input" else "prix_unitaire") in errors[place][0]
    assert stored()["sagas"] == 0


def test_every_wrong_field_is_named_at_once_and_no_value_repeated(api):
    answer = api.order({"client_id": "s3cret-value", "lignes": [{"quantite": 0}], "more": 1})

    assert set(problem(answer)["errors"]) == {
        "client_id", "magasin_id", "lignes[0].produit_id", "lignes[0].quantite", "input",
    }  # fmt: skip
    assert b"s3cret-value" not in answer.content


NO_JSON = {
    "nothing": b" ",
    "text": b"hello",
    "half": b'{"client_id": "1',
    "two": b"{}{}",
    "single quotes": b"{'a': 1}",
    "NaN": b'{"client_id": NaN}',
    "Infinity": b'{"client_id": -Infinity}',
    "a number beyond numbers": b'{"client_id": 1e400}',
    "a lone surrogate": b'{"client_id": "\\ud800x"}',
    "a surrogate in UTF-8": b'{"client_id": "\xed\xa0\x80"}',
    "not UTF-8": b'{"client_id": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NUL in a text": b'{"client_id": "a\\u0000b"}',
    "NUL in a name": b'{"\\u0000": 1}',
    "NUL as a byte": b'{"client_id": "a\0b"}',
    "deep": b"[" * 65 + b"]" * 65,
    "deeper": b'{"a":' * 300 + b"1" + b"}" * 300,
    "deeper than Python": b"[" * 100_000,
    "deep, with a NUL at the bottom": b"[" * 900 + b'"\\u0000"' + b"]" * 900,
}


@pytest.mark.parametrize("path", [ORDERS, START])
@pytest.mark.parametrize("case", NO_JSON)
def test_what_is_not_json_that_can_be_kept_is_refused(api, case, path):
    problem(api.post(path, raw=NO_JSON[case]), 400, "parse_error")
    assert stored()["sagas"] == 0


@pytest.mark.parametrize("body", [[], "order", 7, True, [ORDER]])
def test_a_body_that_is_no_object_is_refused(api, body):
    assert problem(api.order(body), 400, "input_invalid")["errors"]
    assert problem(api.post(START, raw=json.dumps(body).encode()), 400, "invalid")["errors"] == {
        "body": ["must be an object"]
    }
    assert stored()["sagas"] == 0


def test_no_body_is_an_order_without_fields(api):
    assert set(problem(api.post(ORDERS), 400)["errors"]) == {"client_id", "magasin_id", "lignes"}
    problem(api.order(raw=b"null"), 400)


ASKED = {"workflow": "commandes", "input": ORDER}
WRONG_STARTS = {
    "no workflow": ({"input": ORDER}, "workflow"),
    "workflow is a number": ({**ASKED, "workflow": 1}, "workflow"),
    "workflow is empty": ({**ASKED, "workflow": ""}, "workflow"),
    "saga_type is a list": ({"saga_type": ["commandes"], "input": ORDER}, "workflow"),
    "input is a list": ({**ASKED, "input": []}, "input"),
    "input is null": ({**ASKED, "input": None}, "input"),
    "version is a text": ({**ASKED, "version": "1"}, "version"),
    "version is true": ({**ASKED, "version": True}, "version"),
    "version is 0": ({**ASKED, "version": 0}, "version"),
    "correlation_id is a number": ({**ASKED, "correlation_id": 7}, "correlation_id"),
    "correlation_id has spaces": ({**ASKED, "correlation_id": "a b"}, "correlation_id"),
    "an unknown field": ({**ASKED, "priority": 1}, "priority"),
}


@pytest.mark.parametrize("case", WRONG_STARTS)
def test_a_wrong_start_is_refused_by_its_field_and_leaves_nothing(api, case):
    body, field = WRONG_STARTS[case]

    assert list(problem(api.post(START, body), 400, "invalid")["errors"]) == [field]
    assert stored()["sagas"] == 0


@pytest.mark.parametrize("more", [{"workflow": "commande"}, {"version": 99}, {"version": 10**30}])
def test_an_unknown_workflow_or_version_is_not_found(api, more):
    problem(api.post(START, {**ASKED, **more}), 404, "workflow_unknown")
    assert stored()["sagas"] == 0


@pytest.mark.parametrize("path", [ORDERS, START])
def test_a_body_larger_than_any_order_is_refused(api, path):
    fits, too_large = (b'{"a": "' + b"x" * (size - 9) + b'"}' for size in (256 * 1024, 256 * 1024 + 1))

    problem(api.post(path, raw=too_large), 413, "body_too_large")
    problem(api.post(path, raw=fits), 400)
    assert stored()["sagas"] == 0


class Body:
    """What a WSGI server gives to read a request from: some parts, then perhaps an error."""

    def __init__(self, content, error=None):
        self.content, self.error = io.BytesIO(content), error

    def read(self, size):
        found = self.content.read(size)
        if len(found) < size and self.error:
            raise self.error
        return found

    readline = read


def sent(content, path=ORDERS, error=None, **environ):
    """The answer to a body that comes as it comes, from a server that decodes chunks unless told."""
    server = {"wsgi.input": Body(content, error), "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}
    environ = {**RequestFactory().post(path).environ, "CONTENT_LENGTH": "", **server, **environ}
    answer = measured(lambda given, _: ClientHandler()(given))(environ, None)
    answer.json = lambda: json.loads(answer.content)
    return answer


CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}


@pytest.mark.parametrize("path", [ORDERS, START])
def test_a_body_that_ends_early_is_refused_even_where_what_came_is_json(api, path):
    whole = json.dumps(ORDER if path == ORDERS else ASKED).encode()

    problem(sent(whole, path, CONTENT_LENGTH=str(len(whole) + 10)), 400, "body_incomplete")
    assert stored()["sagas"] == 0
    assert sent(whole, path, CONTENT_LENGTH=str(len(whole))).status_code == 201


def test_a_body_in_chunks_is_read_within_the_limit(api):
    whole = json.dumps(ORDER).encode()

    assert sent(whole, **CHUNKED).status_code == 201
    assert sent(whole + b" " * (256 * 1024 - len(whole)), **CHUNKED).status_code == 201
    problem(sent(whole + b" " * (256 * 1024 + 1 - len(whole)), **CHUNKED), 413, "body_too_large")
    problem(sent(b"", **CHUNKED), 400, "parse_error")


def test_a_server_that_does_not_decode_chunks_asks_for_a_length(api):
    problem(sent(json.dumps(ORDER).encode(), **CHUNKED, **{"wsgi.input_terminated": False}), 411, "length_required")
    assert stored()["sagas"] == 0


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), (400, "body_incomplete")),
        (ValueError("a chunk that is none"), (400, "body_incomplete")),
        (TimeoutError("timed out"), (408, "request_timeout")),
    ],
)
@pytest.mark.parametrize("kind", [{"CONTENT_LENGTH": "200"}, CHUNKED], ids=["length", "chunks"])
def test_a_client_that_goes_while_it_sends_is_one_quiet_line(api, caplog, kind, error, answer):
    caplog.set_level("INFO")

    problem(sent(b'{"client_id"', error=error, **kind), *answer)

    assert stored()["sagas"] == 0
    (line,) = [record for record in caplog.records if record.exc_info or record.name == "saga"]
    assert (line.levelname, line.exc_info) == ("INFO", None)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"]
)
def test_another_kind_of_body_is_refused(api, kind):
    refused = problem(api.post(ORDERS, ORDER, Content_Type=kind), 415, "unsupported_media_type")
    assert refused["detail"].endswith("Send Content-Type: application/json.")
    assert stored()["sagas"] == 0


def test_json_with_a_charset_is_json(api):
    assert api.post(ORDERS, ORDER, Content_Type="application/json; charset=utf-8").status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", START, "POST"),
        ("PUT", ORDERS, "POST"),
        ("DELETE", f"{ORDERS}{UNKNOWN_ID}/", "GET"),
        ("POST", "/api/sagas/statistics/", "GET"),
        ("PATCH", "/health", "GET"),
        ("POST", "/swagger/", "GET"),
        ("POST", "/metrics/", "GET"),
    ],
)
def test_a_method_that_a_route_does_not_have_is_refused_with_those_it_has(api, method, path, allowed):
    answer = api.call(method, path, {})

    problem(answer, 405, "method_not_allowed")
    assert allowed in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/saga/",
        "/api/sagas",
        f"{ORDERS}7/",
        "/api/sagas/transactions/nope/",
        "/api/sagas/definitions/commandes/first/",
        "/api/sagas/definitions/a%00b/1/",
        "/swagger.xml",
        "/api/%ff/",
    ],
)
def test_an_address_that_is_none_is_a_404_in_words(api, path):
    problem(api.get(path), 404, "not_found")


@pytest.mark.parametrize("path", ["/", "//", "//evil.example/"])
def test_the_service_itself_leads_to_the_console_and_nowhere_else(api, path):
    answer = api.http.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/console/")


@pytest.mark.parametrize(
    "path", ["/api/sagas/transactions/123/", "/api/sagas/transactions/123/retry/", "/sagas/123/status"]
)
def test_what_is_no_saga_id_is_named(api, path):
    assert problem(api.get(path), 404, "not_found")["detail"].endswith("; 123 is no saga id.")


def test_a_publication_without_a_body_is_told_so(api):
    assert "is empty" in problem(api.post("/api/sagas/definitions/"), 400, "invalid")["errors"]["body"][0]


MISSPELT = {
    "/metrics": "/metrics/",
    "/swagger": "/swagger/",
    "/health/": "/health",
    ORDERS[:-1]: ORDERS,
    f"{ORDERS}{UNKNOWN_ID}": f"{ORDERS}{UNKNOWN_ID}/",
    "/api/sagas/transactions?limit=5&q=a%20b": "/api/sagas/transactions/?limit=5&q=a%20b",
}


@pytest.mark.parametrize("path", MISSPELT)
def test_an_address_without_its_final_slash_leads_to_the_right_one(api, path):
    for method in ("GET", "HEAD"):
        answer = api.call(method, path)
        assert (answer.status_code, answer.headers["Location"]) == (301, MISSPELT[path])


@pytest.mark.parametrize("path", MISSPELT)
def test_another_method_is_told_the_right_address(api, path):
    detail = problem(api.post(path, ORDER), 404, "not_found")["detail"]

    assert MISSPELT[path].partition("?")[0] in detail.split()
    assert "final slash" in detail


def test_a_long_address_that_is_none_is_not_repeated_whole(api):
    assert len(problem(api.get("/" + "a" * 4000), 404)["detail"]) < 300


@pytest.mark.parametrize("path", [f"{ORDERS}%s/", "/api/sagas/transactions/%s/", "/api/sagas/transactions/%s/events/"])
def test_an_unknown_saga_is_a_404_in_words(api, path):
    problem(api.get(path % UNKNOWN_ID), 404, "saga_not_found")


@pytest.mark.parametrize("name", ["nope/1", "commandes/99", f"commandes/{10**30}", "commandes/0"])
def test_an_unknown_definition_is_a_404_in_words(api, name):
    problem(api.get(f"/api/sagas/definitions/{name}/"), 404, "workflow_unknown")


@pytest.mark.parametrize("path", ["/api/sagas/statistics/", ORDERS + UNKNOWN_ID + "/", "/health"])
def test_a_format_that_there_is_not_is_a_406(api, path):
    problem(api.get(path, Accept="application/xml"), 406, "not_acceptable")


BAD_PARAMETERS = {
    "/api/sagas/transactions/": {
        "limit": ["0", "201", "x", "-1", "1.5", "9" * 5000, "٣"],
        "cursor": ["x", UNKNOWN_ID[:-1]],
        "status": ["running", "NOPE"],
        "active": ["maybe"],
        "created_after": ["yesterday", "2026-13-01", "0001-01-01T00:00:00%2B23:59", "2026-02-30T00:00:00Z"],
        "created_before": ["9999-12-31T23:59:59-23:59"],
        "workflow": ["a%00b"],
        "q": ["%00"],
        "page": ["2"],
    },
    "/api/sagas/events/": {
        "cursor": ["x", UNKNOWN_ID, f"{UNKNOWN_ID}.", f"{UNKNOWN_ID}.-1", f"{UNKNOWN_ID}.{'9' * 40}", f"{'-' * 36}.1"],
        "type": ["nope"],
        "step": ["%00"],
        "limit": ["1e2"],
        "workflow": ["commandes"],
    },
    "/api/saga/sagas/": {"etat": ["RUNNING", "%00"], "actives_seulement": ["oui"], "curseur": ["x", "%00", "7"]},
}


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (path, name, value)
        for path, names in BAD_PARAMETERS.items()
        for name, values in names.items()
        for value in values
    ],
)
def test_a_wrong_parameter_is_refused_by_name(api, path, name, value):
    assert list(problem(api.get(f"{path}?{name}={value}"), 400, "invalid")["errors"]) == [name]


def test_a_defect_is_a_500_with_an_id_to_find_it_by_and_no_trace(api, monkeypatch):
    monkeypatch.setattr(api.participants, "call_all", lambda _: 1 / 0)

    answer = api.order(X_Correlation_ID="desk-7")

    assert problem(answer, 500, "internal_error")["correlation_id"] == "desk-7"
    assert b"ZeroDivision" not in answer.content


def test_product_ids_in_capitals_are_the_same_product(api):
    assert api.order(line(produit_id=PRODUCT.upper())).status_code == 201


# --- Host -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _named(settings):
    settings.ALLOWED_HOSTS = ["saga.example", ".shops.example"]


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize("host", ["saga.example", "SAGA.example:8009", "north.shops.example", "saga.example."])
def test_the_service_answers_to_its_names(api, host):
    assert api.get("/api/saga/info/", Host=host).status_code == 200
    assert api.order(Host=host).status_code == 201


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize(
    "host", ["evil.example", "saga.example.evil.example", "10.0.0.7:8009", "saga.example@evil", "a b"]
)
def test_a_request_for_another_host_is_refused_and_starts_nothing(api, host):
    for path in ("/api/saga/info/", "/swagger/", "/swagger.json", "/metrics/"):
        problem(api.get(path, Host=host), 400, "host_unknown")
    for path in ("/", "/static/drf-yasg/style.css"):
        problem(api.http.get(path, headers={"Host": host}), 400, "host_unknown")
    problem(api.order(Host=host), 400, "host_unknown")
    assert stored()["sagas"] == 0


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize("path", ["/health", "/api/health/"])
def test_whether_it_is_alive_may_be_asked_by_address(api, path):
    assert api.get(path, Host="10.0.0.7:8009").status_code == 200
