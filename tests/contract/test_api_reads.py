"""Reading sagas, events, workflows and the service itself over HTTP: published shapes, filters and pages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import api_support
import pytest
from api_support import CLIENT, DONE, ORDER, START, shaped
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from application.queries import Check
from domain.outcomes import Rejected, Unavailable
from domain.workflows.commandes import COMMANDES
from infrastructure.health import WorkerHeartbeat
from interfaces import commandes_api, contracts
from saga_service import bootstrap

api = api_support.api

SAGAS, EVENTS = "/api/sagas/transactions/", "/api/sagas/events/"


@pytest.fixture
def sagas(api):
    """One that ended well, one that was refused, one that is under way; newest last."""
    found = [api.post(START, {"workflow": "commandes", "input": ORDER, "correlation_id": "desk-1"}).json()]
    api.participants.answers["verification_stock"] = Rejected("sold out")
    found.append(api.post(START, {"workflow": "commandes", "input": ORDER, "correlation_id": "desk-2"}).json())
    api.participants.answers["verification_stock"] = Unavailable("busy", 5.0)
    found.append(api.post(START, {"workflow": "commandes", "input": ORDER}).json())
    assert [saga["status"] for saga in found] == ["COMPLETED", "FAILED", "RUNNING"]
    return [saga["id"] for saga in found]


def listed(api, query=""):
    return [saga["id"] for saga in shaped(api.get(f"{SAGAS}?{query}"), contracts.SAGA_PAGE)["results"]]


def test_sagas_are_listed_newest_first(api, sagas):
    assert listed(api) == sagas[::-1]


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("workflow=commandes", [2, 1, 0]),
        ("workflow=booking", []),
        ("status=COMPLETED", [0]),
        ("status=RUNNING", [2]),
        ("state=SAGA_ANNULEE", [1]),
        ("tenant=", [2, 1, 0]),
        ("tenant=other", []),
        ("correlation_id=desk-2", [1]),
        ("active=true", [2]),
        ("active=false", [1, 0]),
        ("active=1&status=FAILED", []),
        ("q=desk-1", [0]),
        ("q=nothing", []),
        ("q=desk-1&correlation_id=desk-1", [0]),
        ("q=desk-1&correlation_id=desk-2", []),
        ("q=desk-1&status=FAILED", []),
        ("tenant=development", [2, 1, 0]),
        ("tenant=development&status=FAILED", [1]),
        ("tenant=development&active=true", [2]),
        ("tenant=development&state=SAGA_TERMINEE&workflow=commandes", [0]),
        ("correlation_id=desk-2&active=true", []),
        ("correlation_id=desk-2&active=false&workflow=commandes&state=SAGA_ANNULEE", [1]),
        ("state=VERIFICATION_STOCK", [2]),
        ("status=COMPLETED&state=SAGA_ANNULEE", []),
        ("created_after=0001-01-01&created_before=9999-12-31T23:59:59Z", [2, 1, 0]),
        ("created_after=0001-01-01&status=FAILED", [1]),
        ("created_before=1969-01-01&workflow=commandes", []),
    ],
)
def test_sagas_are_found_by_what_they_are(api, sagas, query, chosen):
    assert listed(api, query) == [sagas[index] for index in chosen]


def test_a_saga_is_found_by_its_id(api, sagas):
    assert listed(api, f"q={sagas[1]}") == [sagas[1]]
    assert listed(api, f"q={sagas[1]}&status=FAILED&created_after=2020-01-01") == [sagas[1]]
    assert listed(api, f"q={sagas[1]}&status=COMPLETED") == []


def test_an_id_may_be_the_correlation_id_of_others(api, sagas):
    named = [api.post(START, {"workflow": "commandes", "input": ORDER, "correlation_id": sagas[0]}).json()["id"]]
    assert listed(api, f"q={sagas[0]}") == [*named, sagas[0]]
    assert listed(api, f"q={sagas[0]}&limit=1") == named
    assert listed(api, f"q={sagas[0]}&limit=1&cursor={named[0]}") == [sagas[0]]


def test_sagas_are_found_by_when_they_started(api, sagas):
    started = shaped(api.get(f"{SAGAS}{sagas[1]}/"), contracts.SAGA_DETAIL)["created_at"]

    assert listed(api, f"created_after={quote(started)}") == [sagas[2], sagas[1]]
    assert listed(api, f"created_before={quote(started)}") == [sagas[0]]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    assert listed(api, f"created_after={tomorrow}") == []


@pytest.mark.parametrize("chosen", ["limit=1", "limit=1&workflow=commandes", "limit=1&tenant=development"])
def test_pages_meet_without_a_gap_or_an_overlap(api, sagas, chosen):
    read, query = [], chosen
    while query:
        page = shaped(api.get(f"{SAGAS}?{query}"), contracts.SAGA_PAGE)
        read += [saga["id"] for saga in page["results"]]
        query = page["next"] and f"{chosen}&cursor={page['next']}"

    assert read == sagas[::-1]


def test_a_list_is_silent_about_the_input(api, sagas):
    (saga, *_) = api.get(SAGAS).json()["results"]

    assert "input" not in saga and "data" not in saga


def test_one_saga_has_what_its_list_has_and_more(api, sagas):
    for row in api.get(SAGAS).json()["results"]:
        saga = shaped(api.get(f"{SAGAS}{row['id']}/"), contracts.SAGA_DETAIL)

        assert {name: saga[name] for name in row} == row
        assert saga["events"] == f"{SAGAS}{row['id']}/events/"


def test_a_saga_is_found_by_its_business_ids_newest_first_and_by_key(api, sagas):
    assert listed(api, "q=c-1") == [sagas[0]]
    assert listed(api, f"q={CLIENT}") == sagas[::-1]
    assert listed(api, f"q={CLIENT}&limit=2") == sagas[:0:-1]
    assert listed(api, f"q={CLIENT}&limit=2&cursor={sagas[1]}") == [sagas[0]]
    assert listed(api, f"q={CLIENT}&status=FAILED") == listed(api, f"q={CLIENT}&correlation_id=desk-2") == [sagas[1]]
    assert listed(api, f"q={CLIENT}&active=true&workflow=commandes&state=VERIFICATION_STOCK") == [sagas[2]]
    assert listed(api, "q=c-") == listed(api, f"q={CLIENT}&tenant=other") == listed(api, "q=c-1&status=FAILED") == []


def test_what_is_an_id_and_a_correlation_id_too_is_listed_once(api, sagas):
    named = api.post(START, {"workflow": "commandes", "input": ORDER, "correlation_id": CLIENT}).json()["id"]
    assert listed(api, f"q={CLIENT}") == [named, *sagas[::-1]]


def test_a_saga_shows_the_business_ids_that_are_known(api, sagas):
    shown = [shaped(api.get(f"{SAGAS}{saga}/"), contracts.SAGA_DETAIL)["business_ids"] for saga in sagas[:2]]
    assert shown == [{"commande_id": "c-1", "client_id": CLIENT}, {"client_id": CLIENT}]


def test_a_completed_saga_shows_what_its_steps_gave(api, sagas):
    outputs = shaped(api.get(f"{SAGAS}{sagas[0]}/"), contracts.SAGA_DETAIL)["outputs"]

    assert list(outputs) == list(DONE)
    assert outputs["creation_commande"] == {"commande_id": "c-1"}


def test_a_failed_saga_says_where_how_and_why(api, sagas):
    error = shaped(api.get(f"{SAGAS}{sagas[1]}/"), contracts.SAGA_DETAIL)["error"]

    assert error == {"step": "verification_stock", "item": 0, "outcome": "rejected", "reason": "sold out"}


def test_a_sagas_events_are_its_history_in_order(api, sagas):
    events = shaped(api.get(f"{SAGAS}{sagas[0]}/events/"), contracts.EVENT_PAGE)["results"]

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("saga_started", "saga_completed")
    called = [event for event in events if event["type"] == "step_succeeded"]
    assert [(event["service"], event["http_method"], event["http_status"]) for event in called] == [
        ("inventaire", "GET", 200),
        ("catalogue", "GET", 200),
        ("inventaire", "POST", 200),
        ("commandes", "POST", 200),
    ]


def test_events_are_filtered_and_paged(api, sagas):
    def read(path, query):
        page = shaped(api.get(f"{path}?{query}"), contracts.EVENT_PAGE)
        more = read(path, f"{query.split('&cursor')[0]}&cursor={page['next']}") if page["next"] else []
        return page["results"] + more

    own = f"{SAGAS}{sagas[0]}/events/"
    assert read(own, "limit=3") == api.get(own).json()["results"]
    assert read(EVENTS, "limit=4") == api.get(EVENTS).json()["results"]
    assert {event["step"] for event in read(EVENTS, "step=creation_commande")} == {"creation_commande"}
    assert [event["saga_id"] for event in read(EVENTS, "type=saga_started")] == sagas[::-1]
    assert [event["type"] for event in read(own, "type=saga_completed")] == ["saga_completed"]


def test_all_events_begin_with_those_of_the_newest_saga(api, sagas):
    places = [(event["saga_id"], event["seq"]) for event in api.get(EVENTS).json()["results"]]

    assert places == sorted(places, reverse=True)
    assert places[0][0] == sagas[2]


def test_statistics_add_up(api, sagas):
    assert shaped(api.get("/api/sagas/statistics/"), contracts.STATISTICS) == {
        "total": 3,
        "live": 1,
        "stuck": 0,
        "by_status": {"commandes": {"COMPLETED": 1, "FAILED": 1, "RUNNING": 1}},
        "live_by_state": {"commandes": {"VERIFICATION_STOCK": 1}},
    }


def test_the_workflows_are_listed_and_shown(api):
    results = shaped(api.get("/api/sagas/definitions/"), contracts.DEFINITION_LIST)["results"]
    (listed,) = (each for each in results if each["name"] == "commandes")
    shown = shaped(api.get(f"/api/sagas/definitions/commandes/{COMMANDES.version}/"), contracts.DEFINITION)

    assert (listed["name"], listed["version"], listed["steps"]) == ("commandes", COMMANDES.version, list(DONE))
    assert [step["name"] for step in shown["steps"]] == listed["steps"]
    assert ["COMMANDE_CREEE", "SAGA_TERMINEE"] in shown["transitions"]
    assert shown["states"]["COMPLETED"] == ["SAGA_TERMINEE"]
    assert shown["input_schema"] == contracts.COMMANDE_INPUT


# --- commandes ------------------------------------------------------------------------------------------------------


def orders(api, query=""):
    answer = shaped(api.get(f"/api/saga/sagas/?{query}"), contracts.COMMANDE_LIST)
    assert answer["total"] == len(answer["sagas"])
    return [order["saga_id"] for order in answer["sagas"]]


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("", [2, 1, 0]),
        ("actives_seulement=true", [2]),
        ("actives_seulement=True", [2]),
        ("actives_seulement=false", [2, 1, 0]),
        ("etat=SAGA_TERMINEE", [0]),
        ("etat=SAGA_ANNULEE&actives_seulement=true", []),
    ],
)
def test_orders_are_listed_as_their_users_ask(api, sagas, query, chosen):
    assert orders(api, query) == [sagas[index] for index in chosen]


def test_the_rest_of_a_long_list_is_a_page_away_and_the_total_is_that_of_all_pages(api, sagas, monkeypatch):
    monkeypatch.setattr(commandes_api, "LONGEST_LIST", 2)

    first = shaped(api.get("/api/saga/sagas/"), contracts.COMMANDE_LIST)
    second = shaped(api.get(f"/api/saga/sagas/?curseur={first['suivant']}"), contracts.COMMANDE_LIST)

    assert [order["saga_id"] for page in (first, second) for order in page["sagas"]] == sagas[::-1]
    assert [page["total"] for page in (first, second)] == [3, 3]
    assert second["suivant"] is None


def test_the_total_is_that_of_the_filter(api, sagas, monkeypatch):
    monkeypatch.setattr(commandes_api, "LONGEST_LIST", 1)
    api.participants.answers["verification_stock"] = Rejected("sold out")
    newest = api.order().json()["saga_id"]

    page = shaped(api.get("/api/saga/sagas/?etat=SAGA_ANNULEE"), contracts.COMMANDE_LIST)
    active = shaped(api.get("/api/saga/sagas/?actives_seulement=true"), contracts.COMMANDE_LIST)

    assert (page["total"], page["sagas"][0]["saga_id"], page["suivant"]) == (2, newest, newest)
    assert (active["total"], active["suivant"]) == (1, None)


def test_a_list_that_fits_on_a_page_is_not_counted_besides(api, sagas):
    with CaptureQueriesContext(connection) as asked:
        orders(api)

    assert not [query["sql"] for query in asked if "COUNT(" in query["sql"]]


def test_a_listed_order_says_whose_it_is_and_what_went_wrong(api, sagas):
    refused = api.get("/api/saga/sagas/?etat=SAGA_ANNULEE").json()["sagas"][0]

    assert (refused["client_id"], refused["magasin_id"]) == (ORDER["client_id"], ORDER["magasin_id"])
    assert refused["erreur"] == "sold out"


def test_a_history_counts_its_lines_and_attempts(api):
    api.participants.answers["creation_commande"] = Unavailable("down")
    history = api.order({**ORDER, "lignes": ORDER["lignes"] * 2}).json()["historique"]

    checked = [event["ligne"] for event in history if event["etape"] == "verification_stock" and event["resultat"]]
    tried = [event["tentative"] for event in history if event["etape"] == "creation_commande" and event["resultat"]]
    assert sorted(checked) == [0, 1]
    assert tried[:2] == [1, 2]
    assert {event["message"] for event in history if event["resultat"] == "unavailable"} == {"down"}
    for before, event in zip([None, *history], history, strict=False):
        assert event["ancien_etat"] == (before and before["etat"])


def test_the_service_describes_the_order_saga(api):
    info = shaped(api.get("/api/saga/info/"), contracts.INFO)

    assert info["etapes"] == list(DONE)
    assert len(info["etats"]) == 13


# --- health and numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/api/health/"])
def test_liveness_asks_nothing_of_others(api, path, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert shaped(api.get(path), contracts.LIVE) == {"status": "ok"}


@pytest.fixture
def gateway(transactional_db, api, monkeypatch):
    """A gateway that answers; and each check sees what is stored, from a connection of its own."""
    built = replace(bootstrap.platform(), checks={**bootstrap.platform().checks, "gateway": lambda: Check(ok=True)})
    monkeypatch.setattr(bootstrap, "platform", lambda: built)


def test_readiness_names_each_part(api, gateway):
    WorkerHeartbeat().beat("w", datetime.now(UTC), datetime.now(UTC))
    body = shaped(api.get("/api/saga/health/"), contracts.READY)

    assert body["status"] == "ok"
    assert {name: check["status"] for name, check in body["checks"].items()} == {
        "database": "ok", "gateway": "ok", "worker": "ok",
    }  # fmt: skip


def test_a_part_that_is_missing_makes_it_a_503_and_is_named(api, gateway):
    body = shaped(api.get("/api/saga/health/"), contracts.READY, 503)

    assert body["checks"]["worker"] == {
        "status": "unavailable",
        "detail": "no worker reports; start `manage.py saga_worker`",
    }
    assert body["checks"]["database"]["status"] == "ok"


def test_the_status_names_workflows_and_participants(api):
    body = shaped(api.get("/api/status/"), contracts.SERVICE_STATUS)

    assert f"commandes v{COMMANDES.version}" in body["workflows"]
    assert {"inventaire", "catalogue", "commandes"} <= set(body["services"])


def test_the_metrics_are_prometheus_text(api):
    answer = api.get("/metrics/")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE saga_total counter\n" in answer.content


def test_a_database_that_is_away_is_a_503_with_words(api, monkeypatch):
    def away(*_):
        raise OperationalError("connection refused")

    for method in ("sagas", "count", "events", "counts"):
        monkeypatch.setattr("infrastructure.saga_queries.PostgresSagaQueries." + method, away)
    for path in (SAGAS, EVENTS, "/api/sagas/statistics/", "/api/saga/sagas/"):
        answer = api.get(path)
        api_support.problem(answer, 503, "store_unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert b"refused" not in answer.content


def test_head_is_a_get_without_a_body(api, sagas):
    got, head = (api.call(method, SAGAS) for method in ("GET", "HEAD"))

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
