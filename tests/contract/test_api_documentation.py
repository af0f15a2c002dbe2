"""What is published about the API is true, whole, and needs no other host."""

import json
import re
import warnings

import api_support
import pytest
from api_support import documented

from interfaces import contracts, urls

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from swagger_spec_validator.validator20 import validate_spec

api = api_support.api

PAGES = ["/swagger/", "/api/docs/", "/redoc/", "/api/redoc/"]
SCHEMAS = ["/api/schema/", "/swagger.json", "/swagger.yaml"]
ERRORS = {400, 401, 403, 404, 406, 408, 411, 413, 415, 422, 429, 500, 503}

CALLER, DATABASE = {400, 401, 403, 406, 500}, {503}
STARTED = {201, 202, 409, 422, 502, 504} | CALLER | DATABASE
BODY = {408, 411, 413, 415}
STATUSES = {
    ("post", "/api/sagas/start/"): STARTED | BODY | {404, 429},
    ("get", "/api/sagas/transactions/"): {200} | CALLER | DATABASE,
    ("get", "/api/sagas/transactions/{saga_id}/"): {200, 404} | CALLER | DATABASE,
    ("get", "/api/sagas/transactions/{saga_id}/events/"): {200, 400, 404} | CALLER | DATABASE,
    **{
        ("post", f"/api/sagas/transactions/{{saga_id}}/{verb}/"): {200, 404, 409} | BODY | CALLER | DATABASE
        for verb in ("retry", "skip", "compensate", "pause", "resume", "resolve")
    },
    ("post", "/api/sagas/transactions/{saga_id}/signals/{name}/"): {200, 404, 409} | BODY | CALLER | DATABASE,
    ("post", "/api/v1/saga/partner-creation"): {202, 422} | BODY | CALLER | DATABASE,
    ("get", "/api/v1/saga/status/{saga_id}"): {200, 404} | CALLER | DATABASE,
    ("get", "/api/v1/saga/active"): {200} | CALLER | DATABASE,
    ("get", "/api/sagas/failures/"): {200} | CALLER | DATABASE,
    **{
        ("post", f"/api/sagas/failures/{{group}}/{verb}/"): {200, 202, 404, 409} | BODY | CALLER | DATABASE
        for verb in ("retry", "compensate")
    },
    ("get", "/api/sagas/bulk/"): {200} | CALLER | DATABASE,
    ("get", "/api/sagas/bulk/{bulk_id}/"): {200, 404} | CALLER | DATABASE,
    ("post", "/api/sagas/bulk/{bulk_id}/cancel/"): {200, 404} | CALLER | DATABASE,
    ("get", "/api/sagas/events/"): {200, 400} | CALLER | DATABASE,
    ("get", "/api/sagas/statistics/"): {200} | CALLER | DATABASE,
    ("get", "/api/sagas/definitions/"): {200} | CALLER | DATABASE,
    ("post", "/api/sagas/definitions/"): {200, 201, 409, 422} | BODY | CALLER | DATABASE,
    ("get", "/api/sagas/definitions/{name}/{version}/"): {200, 404} | CALLER | DATABASE,
    ("get", "/api/sagas/definitions/{name}/{version}/diagram/"): {200, 404} | CALLER | DATABASE,
    ("post", "/api/sagas/cashout/start/"): STARTED | BODY | {429},
    ("post", "/api/sagas/cashout/rollback/"): {200, 202, 404, 409, 429} | BODY | CALLER | DATABASE,
    ("get", "/api/sagas/cashout/list/"): {200} | CALLER | DATABASE,
    ("get", "/api/sagas/cashout/status/{saga_id}/"): {200, 404} | CALLER | DATABASE,
    ("post", "/api/sagas/cashout/{saga_id}/retry/{step}/"): {200, 202, 404, 409, 429} | BODY | CALLER | DATABASE,
    ("post", "/api/saga/commandes/"): STARTED | BODY,
    ("get", "/api/saga/commandes/{saga_id}/"): {200, 404} | CALLER | DATABASE,
    ("get", "/api/saga/sagas/"): {200} | CALLER | DATABASE,
    ("post", "/api/saga/test/echec-stock/"): STARTED,
    ("get", "/api/saga/info/"): {200} | CALLER,
    ("post", "/sagas/start"): STARTED | BODY,
    ("get", "/sagas/{saga_id}/status"): {200, 404} | CALLER | DATABASE,
    ("post", "/sagas/{saga_id}/compensate"): {200, 202, 404, 409} | BODY | CALLER | DATABASE,
    ("get", "/saga/test"): {200} | CALLER | DATABASE,
    ("get", "/api/saga/health/"): {200} | CALLER | DATABASE,
    ("get", "/api/health/"): {200, 406, 500},
    ("get", "/health"): {200, 406, 500},
    ("get", "/api/status/"): {200} | CALLER | DATABASE,
    ("get", "/metrics/"): {200} | CALLER,
}


def operations():
    return {
        (method, path): operation
        for path, methods in documented()["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }


def test_every_route_is_documented_with_every_status_that_it_can_answer(db):
    found = {place: {int(status) for status in operation["responses"]} for place, operation in operations().items()}

    assert found == STATUSES


def test_no_route_is_left_out(db):
    own = {route.removesuffix("/") for route in (*PAGES, *SCHEMAS)}
    routes = {"/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(route.pattern)) for route in urls.urlpatterns}

    undocumented = routes - set(documented()["paths"]) - {"/^swagger\\.(?P<format>json|yaml)$"}
    assert {route.removesuffix("/") for route in undocumented} == own - {"/swagger.json", "/swagger.yaml"}


def test_every_error_has_the_shape_of_a_problem(db):
    problems = [
        answer
        for place, operation in operations().items()
        for status, answer in operation["responses"].items()
        if int(status) in ERRORS and place != ("get", "/api/saga/health/")
    ]

    assert problems
    assert all(set(answer["schema"]["properties"]) == set(contracts.PROBLEM["properties"]) for answer in problems)


@pytest.mark.parametrize(
    ("place", "status", "shape"),
    [
        (("post", "/api/sagas/start/"), "201", contracts.SAGA),
        (("post", "/api/saga/commandes/"), "409", contracts.COMMANDE),
        (("post", "/api/sagas/cashout/start/"), "201", contracts.CASHOUT),
        (("get", "/api/sagas/cashout/list/"), "200", contracts.CASHOUT_PAGE),
        (("get", "/api/sagas/transactions/"), "200", contracts.SAGA_PAGE),
        (("get", "/api/saga/health/"), "503", contracts.READY),
        (("post", "/sagas/start"), "409", contracts.FOOD_RESULT),
        (("get", "/sagas/{saga_id}/status"), "200", contracts.FOOD_STATUS),
    ],
)
def test_every_answer_has_its_published_shape(db, place, status, shape):
    schema = operations()[place]["responses"][status]["schema"]

    assert set(schema["properties"]) == set(shape["properties"])
    assert set(schema["required"]) == set(shape["required"])


def test_the_bodies_are_documented_with_their_bounds(db):
    (order,) = [p for p in operations()["post", "/api/saga/commandes/"]["parameters"] if p["in"] == "body"]
    lines = order["schema"]["properties"]["lignes"]
    (start,) = [p for p in operations()["post", "/api/sagas/start/"]["parameters"] if p["in"] == "body"]

    assert (lines["minItems"], lines["maxItems"]) == (1, 200)
    assert lines["items"]["properties"]["quantite"] == {"type": "integer", "minimum": 1, "maximum": 10000}
    assert set(start["schema"]["properties"]) == {"workflow", "saga_type", "input", "version", "correlation_id"}


@pytest.mark.parametrize("path", ["/api/saga/commandes/", "/api/sagas/start/", "/api/sagas/cashout/start/"])
def test_the_example_of_a_body_can_be_sent(api, path):
    (body,) = [p for p in operations()["post", path]["parameters"] if p["in"] == "body"]

    assert api.post(path, body["schema"]["example"]).status_code == 201


def test_the_example_of_a_definition_can_be_published(api):
    (body,) = [p for p in operations()["post", "/api/sagas/definitions/"]["parameters"] if p["in"] == "body"]

    assert api.post("/api/sagas/definitions/", body["schema"]["example"]).status_code == 201


def test_the_headers_of_a_start_are_documented(db):
    for path in ("/api/sagas/start/", "/api/saga/commandes/", "/api/saga/test/echec-stock/", "/sagas/start"):
        names = {p["name"] for p in operations()["post", path]["parameters"] if p["in"] == "header"}
        assert names == {"Idempotency-Key", "Prefer", "X-Correlation-ID"}


def test_only_liveness_is_documented_as_open_to_anybody(db):
    assert documented()["security"]
    open_to_anybody = {path for (_, path), operation in operations().items() if operation.get("security") == []}

    assert open_to_anybody == {"/health", "/api/health/"}


def test_the_schema_is_valid_swagger(db):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        validate_spec(json.loads(json.dumps(documented())))


@pytest.mark.parametrize("path", SCHEMAS)
def test_the_raw_schema_is_served(api, path):
    answer = api.get(path)

    assert answer.status_code == 200
    assert b"/api/saga/commandes/" in answer.content


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_no_other_host(api, path):
    answer = api.get(path, Accept="text/html")
    page = answer.content.decode()

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r"""(?:src|href)=["'](?!/static/)([^"']+)""", page) == []
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert set(" ".join(policy.values()).split()) <= {"'self'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}


@pytest.mark.parametrize("path", PAGES)
def test_what_a_page_asks_for_is_served_here(api, path):
    page = api.get(path, Accept="text/html").content.decode()
    assets = set(re.findall(r"/static/[^\"']+\.(?:js|css|png)", page))

    assert any(asset.endswith(".js") for asset in assets)
    for asset in assets:
        answer = api.http.get(asset)
        assert answer.status_code == 200, asset
        assert sum(map(len, answer.streaming_content)) > 0
        answer.close()
