"""Who may call what with DEBUG off: the gateway's consumers, keys of the service's own, and nobody else."""

import hmac
import re

import api_support
import pytest
from api_support import ORDER, ORDERS, UNKNOWN_ID, problem

from domain.workflows.commandes import COMMANDES
from infrastructure.models import SagaEventRow
from interfaces import callers, urls
from interfaces.contracts import EXAMPLE_DEFINITION
from interfaces.hosts import LIVENESS
from saga_service.configuration import ApiKey

api = api_support.api

SECRET = "a-secret-of-the-gateway"
KEYS = {role: f"key-of-the-{role}-000" for role in ("client", "reader", "operator", "admin")}
GROUPS = {role: f"saga-{role}" for role in KEYS}

SEES_ALL, KNOWS_AN_ID, STARTS = "reader operator admin", "client reader operator admin", "client operator admin"
OPERATES = "operator admin"
MATRIX = {
    "api/sagas/start/": ("POST", STARTS),
    "api/sagas/transactions/": ("GET", SEES_ALL),
    "api/sagas/transactions/<uuid:saga_id>/": ("GET", KNOWS_AN_ID),
    "api/sagas/transactions/<uuid:saga_id>/events/": ("GET", KNOWS_AN_ID),
    **{
        f"api/sagas/transactions/<uuid:saga_id>/{verb}/": ("POST", OPERATES)
        for verb in ("retry", "skip", "compensate", "pause", "resume", "resolve")
    },
    "api/sagas/transactions/<uuid:saga_id>/signals/<slug:name>/": ("POST", OPERATES),
    "api/v1/saga/partner-creation": ("POST", STARTS),
    "api/v1/saga/status/<uuid:saga_id>": ("GET", KNOWS_AN_ID),
    "api/v1/saga/active": ("GET", SEES_ALL),
    "api/sagas/failures/": ("GET", SEES_ALL),
    "api/sagas/failures/<slug:group>/retry/": ("POST", OPERATES),
    "api/sagas/failures/<slug:group>/compensate/": ("POST", OPERATES),
    "api/sagas/bulk/": ("GET", SEES_ALL),
    "api/sagas/bulk/<uuid:bulk_id>/": ("GET", SEES_ALL),
    "api/sagas/bulk/<uuid:bulk_id>/cancel/": ("POST", OPERATES),
    "api/sagas/events/": ("GET", SEES_ALL),
    "api/sagas/statistics/": ("GET", SEES_ALL),
    "api/sagas/definitions/": ("GET", KNOWS_AN_ID),
    "api/sagas/definitions/<slug:name>/<int:version>/": ("GET", KNOWS_AN_ID),
    "api/sagas/definitions/<slug:name>/<int:version>/diagram/": ("GET", KNOWS_AN_ID),
    "api/sagas/cashout/start/": ("POST", STARTS),
    "api/sagas/cashout/rollback/": ("POST", OPERATES),
    "api/sagas/cashout/list/": ("GET", SEES_ALL),
    "api/sagas/cashout/status/<uuid:saga_id>/": ("GET", KNOWS_AN_ID),
    "api/sagas/cashout/<uuid:saga_id>/retry/<slug:step>/": ("POST", OPERATES),
    "api/saga/commandes/": ("POST", STARTS),
    "api/saga/commandes/<uuid:saga_id>/": ("GET", KNOWS_AN_ID),
    "api/saga/sagas/": ("GET", SEES_ALL),
    "api/saga/test/echec-stock/": ("POST", STARTS),
    "api/saga/info/": ("GET", KNOWS_AN_ID),
    "sagas/start": ("POST", STARTS),
    "sagas/<uuid:saga_id>/status": ("GET", KNOWS_AN_ID),
    "sagas/<uuid:saga_id>/compensate": ("POST", OPERATES),
    "saga/test": ("GET", KNOWS_AN_ID),
    "api/saga/health/": ("GET", KNOWS_AN_ID),
    "api/status/": ("GET", KNOWS_AN_ID),
    "metrics/": ("GET", SEES_ALL),
    "swagger/": ("GET", KNOWS_AN_ID),
    "api/docs/": ("GET", KNOWS_AN_ID),
    "redoc/": ("GET", KNOWS_AN_ID),
    "api/redoc/": ("GET", KNOWS_AN_ID),
    "api/schema/": ("GET", KNOWS_AN_ID),
    r"^swagger\.(?P<format>json|yaml)$": ("GET", KNOWS_AN_ID),
}
OPEN = {"api/health/", "health"}
VALUES = {
    "saga_id": UNKNOWN_ID,
    "bulk_id": UNKNOWN_ID,
    "group": "none",
    "name": "commandes",
    "version": str(COMMANDES.version),
    "step": "wallet_credit",
}


def address(route):
    if route.startswith("^"):
        return "/swagger.json"
    return "/" + re.sub(r"<\w+:(\w+)>", lambda found: VALUES[found[1]], route)


@pytest.fixture(autouse=True)
def _debug_off(settings):
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    settings.SAGA_ORCHESTRATOR_CONFIG = {
        **config,
        "DEBUG": False,
        "FAULT_INJECTION": True,  # a page that is off is refused to everybody
        "KONG_GATEWAY": {**config["KONG_GATEWAY"], "SHARED_SECRET": SECRET},
        "API_KEYS": tuple(ApiKey(f"own-{role}", GROUPS[role], key) for role, key in KEYS.items()),
    }


def consumer(groups, secret=SECRET, name="shop-7"):
    return {"X_Gateway_Secret": secret, "X_Consumer_Username": name, "X_Consumer_Groups": groups}


def refused_without_a_caller(answer, code="not_authenticated"):
    detail = problem(answer, 401, code)["detail"]
    assert code != "not_authenticated" or detail.endswith("Send X-API-Key or Authorization: Bearer.")
    assert answer.headers["WWW-Authenticate"] == "Key"


def test_the_matrix_names_every_route():
    assert {str(route.pattern) for route in urls.urlpatterns} == set(MATRIX) | OPEN


def test_what_is_open_to_anybody_is_open_under_any_host_name():
    assert {path.removeprefix("/") for path in LIVENESS} == OPEN


@pytest.mark.parametrize("route", MATRIX)
def test_every_route_needs_a_caller(api, route):
    method, _ = MATRIX[route]

    for asked in (method, "OPTIONS", "HEAD", "DELETE"):
        answer = api.call(asked, address(route))
        assert answer.status_code == 401, asked
    refused_without_a_caller(api.call(method, address(route)))


@pytest.mark.parametrize("path", ["/health", "/api/health/"])
@pytest.mark.parametrize("headers", [{}, {"X_API_Key": "wrong"}, {"X_Gateway_Secret": "wrong"}])
def test_anybody_may_ask_whether_it_is_alive(api, path, headers):
    assert api.get(path, **headers).status_code == 200


@pytest.mark.parametrize("role", KEYS)
@pytest.mark.parametrize("route", MATRIX)
def test_a_role_opens_what_it_is_for_and_nothing_else(api, route, role):
    method, allowed = MATRIX[route]

    answers = [
        api.call(method, address(route), **consumer(GROUPS[role])),
        api.call(method, address(route), X_API_Key=KEYS[role]),
    ]

    for answer in answers:
        if role in allowed.split():
            assert answer.status_code not in {401, 403}
        else:
            assert "This needs the role saga-" in problem(answer, 403, "permission_denied")["detail"]


@pytest.mark.parametrize("role", KEYS)
def test_only_an_admin_publishes_a_workflow(api, role):
    answer = api.post("/api/sagas/definitions/", EXAMPLE_DEFINITION, X_API_Key=KEYS[role])

    if role == "admin":
        assert answer.status_code == 201
    else:
        problem(answer, 403, "permission_denied")


@pytest.mark.parametrize("groups", ["", "participants", "saga", "saga-", "SAGA-ADMIN", "saga-admin2", "saga admin"])
def test_a_consumer_without_a_role_may_do_nothing(api, groups):
    problem(api.get("/api/saga/info/", **consumer(groups)), 403, "permission_denied")


@pytest.mark.parametrize("groups", ["participants, saga-client", "saga-client,saga-reader", " saga-client "])
def test_the_roles_are_those_of_all_groups(api, groups):
    assert api.order(**consumer(groups)).status_code == 201


def test_roles_add_up(api):
    both = consumer("saga-client, saga-reader")

    assert api.get("/api/sagas/statistics/", **both).status_code == 200
    assert api.order(**both).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Consumer_Username": "shop-7", "X_Consumer_Groups": "saga-admin"},
        {"X_Consumer_Groups": "saga-admin", "X_Consumer_ID": "6d0f9c52", "X_Credential_Identifier": "1"},
    ],
)
def test_a_consumer_that_the_gateway_did_not_vouch_for_is_nobody(api, headers):
    refused_without_a_caller(api.get("/api/sagas/statistics/", **headers))


@pytest.mark.parametrize(
    "secret", ["", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper(), "clé", "dev-gateway-secret"]
)
def test_a_wrong_secret_is_refused(api, secret):
    refused_without_a_caller(
        api.get("/api/sagas/statistics/", **consumer("saga-admin", secret)), "gateway_secret_wrong"
    )


def test_a_wrong_secret_is_refused_whatever_else_is_right(api):
    both = {**consumer("saga-admin", "wrong"), "X_API_Key": KEYS["admin"]}

    refused_without_a_caller(api.get("/api/sagas/statistics/", **both), "gateway_secret_wrong")


def test_consumer_headers_add_nothing_to_a_key(api):
    answer = api.get("/api/sagas/statistics/", X_API_Key=KEYS["client"], X_Consumer_Groups="saga-admin")

    problem(answer, 403)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_a_key_may_come_as_a_bearer_token(api, scheme):
    assert api.get("/api/sagas/statistics/", Authorization=scheme + KEYS["reader"]).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X_API_Key": "wrong"},
        {"X_API_Key": KEYS["admin"][:-1]},
        {"X_API_Key": KEYS["admin"].upper()},
        {"X_API_Key": "clé-ß-日本"},
        {"X_API_Key": "magasin-secret-key-2025"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer é"},
        {"Authorization": "Basic " + KEYS["admin"]},
        {"Authorization": "wrong", "X_API_Key": ""},
        {"Authorization": KEYS["admin"]},
    ],
)
def test_a_key_that_is_not_known_is_refused(api, headers):
    refused_without_a_caller(api.get("/api/sagas/statistics/", **headers), "key_unknown")


@pytest.mark.parametrize("headers", [{"X_API_Key": ""}, {"Authorization": ""}, {"Authorization": "Bearer "}])
def test_an_empty_key_is_no_key(api, headers):
    refused_without_a_caller(api.get("/api/sagas/statistics/", **headers))


def test_a_key_in_the_query_is_no_key(api):
    assert api.get(f"/api/sagas/statistics/?X-API-Key={KEYS['admin']}").status_code == 401


def test_every_key_is_compared_in_constant_time(api, monkeypatch):
    compared = []

    def compare(given, expected):
        compared.append(expected)
        return hmac.compare_digest(given, expected)

    monkeypatch.setattr(callers, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    api.get("/api/sagas/statistics/", X_API_Key=KEYS["client"])
    api.get("/api/sagas/statistics/", **consumer("saga-reader"))

    assert compared == [key.encode() for key in KEYS.values()] + [SECRET.encode()]


@pytest.mark.parametrize(
    ("headers", "actor"),
    [
        (consumer("saga-client"), "shop-7"),
        ({"X_API_Key": KEYS["operator"]}, "own-operator"),
        ({"Authorization": f"Bearer {KEYS['client']}"}, "own-client"),
        ({**consumer("saga-client", name=""), "X_Consumer_ID": "6d0f9c52"}, "6d0f9c52"),
        ({**consumer("saga-client"), "X_Consumer_ID": "6d0f9c52"}, "shop-7"),
    ],
)
def test_the_caller_is_the_actor_of_what_was_started(api, headers, actor):
    saga_id = api.order(**headers).json()["saga_id"]

    assert SagaEventRow.objects.get(saga_id=saga_id, seq=1).actor == actor


def test_a_refused_start_stores_nothing(api):
    api.order()
    api.order(**consumer("saga-reader"))

    assert api_support.stored()["sagas"] == 0


def test_a_method_that_there_is_not_is_told_to_those_who_may_call(api):
    problem(api.call("PUT", ORDERS, ORDER, **consumer("saga-client")), 405)
    problem(api.call("PUT", ORDERS, ORDER, **consumer("saga-reader")), 403)


@pytest.mark.parametrize(
    "path", ["swagger-ui-dist/swagger-ui-bundle.js", "redoc/redoc.min.js", "style.css", "swagger-ui-init.js"]
)
def test_the_pages_scripts_and_styles_hold_no_secret_and_need_none(api, path):
    answer = api.http.get(f"/static/drf-yasg/{path}")

    assert answer.status_code == 200
    answer.close()


def test_a_page_that_is_refused_is_refused_in_words(api):
    refused_without_a_caller(api.get("/swagger/", Accept="text/html"))


def test_with_debug_nobody_needs_to_say_who_they_are_but_wrong_is_wrong(api, settings):
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "DEBUG": True}

    assert api.get("/api/sagas/statistics/").status_code == 200
    assert api.get("/api/sagas/statistics/", X_API_Key="magasin-secret-key-2025").status_code == 200
    assert api.get("/api/sagas/statistics/", X_API_Key="wrong").status_code == 401
    assert api.get("/api/sagas/statistics/", **consumer("saga-client")).status_code == 403


@pytest.mark.parametrize("named", [{}, {"X_Consumer_Username": ""}, {"X_Consumer_ID": ""}])
def test_a_consumer_that_the_gateway_does_not_name_is_refused(api, named):
    headers = {"X_Gateway_Secret": SECRET, "X_Consumer_Groups": "saga-admin", **named}

    refused_without_a_caller(api.order(**headers), "consumer_unnamed")


def test_two_consumers_without_a_username_do_not_meet(api):
    nameless = {"X_Gateway_Secret": SECRET, "X_Consumer_Groups": "saga-client", "Idempotency_Key": "order-1"}
    first, second, again = (api.order(**nameless, X_Consumer_ID=known) for known in ("id-1", "id-2", "id-1"))

    assert first.json()["saga_id"] == again.json()["saga_id"] != second.json()["saga_id"]


def test_two_callers_that_choose_the_same_idempotency_key_do_not_meet(api):
    own = [api.post(ORDERS, ORDER, X_API_Key=KEYS[role], Idempotency_Key="order-1") for role in ("client", "operator")]
    again = api.post(ORDERS, ORDER, X_API_Key=KEYS["client"], Idempotency_Key="order-1")
    assert own[0].json()["saga_id"] == again.json()["saga_id"] != own[1].json()["saga_id"]
