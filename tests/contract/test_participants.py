"""The e-commerce reference services keep the participants' contract, as real processes over real HTTP."""

import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from participants_support import ROOT, Participant, Reservation, at_once, running, until

from participants.assortment import BLOCKED_CLIENT, PRODUCTS, STORES

COFFEE, JAM, HONEY = PRODUCTS[0].id, PRODUCTS[3].id, PRODUCTS[4].id
STORE = STORES[0]
REGISTER, CANCEL = "/api/v1/ventes-ddd/enregistrer/", "/api/v1/ventes-ddd/annuler/"


def place(product: str, store: str = STORE) -> str:
    return f"/api/ddd/inventaire/stock-local/{product}/{store}/"


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Participant]]:
    directory = tmp_path_factory.mktemp("services")
    with (
        running("catalogue", directory) as catalogue,
        running("inventaire", directory) as inventory,
        running("commandes", directory) as orders,
    ):
        yield {"catalogue": catalogue, "inventaire": inventory, "commandes": orders}


@pytest.fixture
def inventory(services) -> Participant:
    return services["inventaire"]


@pytest.fixture
def orders(services) -> Participant:
    return services["commandes"]


@pytest.fixture
def reservation(inventory) -> Reservation:
    return Reservation(inventory, place(COFFEE))


def order(**changes: object) -> dict[str, object]:
    line = {"produit_id": COFFEE, "quantite": 2, "nom": "Café en grains 1 kg", "prix_unitaire": 14.90}
    return {"client_id": str(uuid4()), "magasin_id": STORE, "lignes": [line], **changes}


@pytest.mark.parametrize("name", ["catalogue", "inventaire", "commandes"])
def test_a_service_is_healthy_and_lists_its_routes(services, name):
    assert services[name].get("/health") == {"status": "ok", "service": name}
    routes = services[name].get("/")["routes"]
    assert all(set(route) == {"method", "path", "summary"} and route["summary"] for route in routes)


def test_the_catalogue_tells_names_and_prices(services):
    catalogue = services["catalogue"]
    coffee = {"id": COFFEE, "nom": "Café en grains 1 kg", "prix": 14.9}
    assert catalogue.get(f"/api/ddd/catalogue/produits/{COFFEE}/") == coffee
    assert catalogue.get("/api/ddd/catalogue/produits/")["produits"][0] == coffee
    assert catalogue.get(f"/api/ddd/catalogue/produits/{COFFEE.upper()}") == coffee


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("catalogue", f"/api/ddd/catalogue/produits/{uuid4()}/"),
        ("inventaire", place(str(uuid4()))),
        ("inventaire", place(COFFEE, str(uuid4()))),
        ("commandes", f"/api/v1/ventes-ddd/{uuid4()}/"),
        ("inventaire", "/api/nothing/here/"),
        ("inventaire", "/_faults"),
    ],
)
def test_what_is_unknown_is_404_in_json(services, name, path):
    answer = services[name].call("GET", path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"code", "detail"}


def test_a_wrong_method_is_405_and_names_the_right_one(inventory):
    answer = inventory.call("GET", place(COFFEE) + "reservations/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_the_seed_has_the_demonstration_stocks(inventory):
    coffee = inventory.get(place(COFFEE))
    assert (coffee["produit_id"], coffee["magasin_id"]) == (COFFEE, STORE)
    assert 100 < coffee["quantite_disponible"] < 1000
    assert inventory.get(place(JAM))["quantite_disponible"] == 5
    assert inventory.get(place(HONEY))["quantite_disponible"] == 0


def test_a_reservation_takes_from_the_stock_and_its_undo_gives_back(reservation):
    before = reservation.available()
    done = reservation.do()
    assert (done.status_code, set(done.json())) == (201, {"reservation_id"})
    assert reservation.available() == before - 2
    assert reservation.undo().status_code == 200
    assert reservation.available() == before
    assert reservation.inventory.effects(reservation.saga_id) == [
        (reservation.key, "do", 2),
        (reservation.key, "undo", 2),
    ]


def test_a_repeated_call_has_one_effect_and_the_first_answer(reservation):
    first, second = reservation.do(), reservation.do()
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert reservation.effects() == ["do"]
    assert reservation.undo().content == reservation.undo().content
    assert reservation.effects() == ["do", "undo"]


def test_twenty_equal_calls_at_once_have_one_effect_and_one_answer(reservation):
    before = reservation.available()
    assert len({(answer.status_code, answer.content) for answer in at_once(20, reservation.do)}) == 1
    assert reservation.available() == before - 2
    assert len({(answer.status_code, answer.content) for answer in at_once(20, reservation.undo)}) == 1
    assert reservation.available() == before
    assert reservation.effects() == ["do", "undo"]


def test_a_do_and_its_undo_at_once_leave_no_net_effect(inventory):
    before = inventory.get(place(COFFEE))["quantite_disponible"]
    for _ in range(10):
        reservation = Reservation(inventory, place(COFFEE))
        *dones, first_undo, second_undo = at_once(2, reservation.do, reservation.undo)
        assert {done.status_code for done in dones} <= {201, 409}
        assert (first_undo.status_code, first_undo.content) == (200, second_undo.content)
        assert reservation.effects() in ([], ["do", "undo"])
    assert inventory.get(place(COFFEE))["quantite_disponible"] == before


def test_an_empty_undo_succeeds_and_refuses_the_do_that_comes_late(reservation):
    before = reservation.available()
    assert reservation.undo().status_code == 200
    late = reservation.do()
    assert (late.status_code, late.json()["code"]) == (409, "call_was_undone")
    assert (reservation.available(), reservation.effects()) == (before, [])


def test_more_than_there_is_is_refused_the_same_way_each_time(inventory):
    reservation = Reservation(inventory, place(COFFEE), units=1000)
    first, second = reservation.do(), reservation.do()
    assert (first.status_code, first.json()["code"]) == (409, "stock_insuffisant")
    assert second.content == first.content
    assert reservation.undo().json() == {"outcome": "nothing_to_undo"}
    assert reservation.effects() == []


def test_many_buyers_at_once_never_get_more_than_there_is(inventory):
    buyers = [Reservation(inventory, place(JAM), units=1) for _ in range(20)]
    answers = at_once(1, *[buyer.do for buyer in buyers])
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 15
    assert buyers[0].available() == 0
    assert {buyer.undo().status_code for buyer in buyers} == {200}
    assert buyers[0].available() == 5


def test_an_undo_that_does_not_match_its_reservation_is_refused_and_changes_nothing(reservation):
    reservation.do()
    before, reservation.units = reservation.available(), 3
    assert reservation.undo().status_code == 409
    assert reservation.available() == before
    reservation.units = 2
    assert reservation.undo().status_code == 200


def test_an_order_is_registered_and_can_be_cancelled(orders):
    saga_id, body = str(uuid4()), order()
    key = f"{saga_id}:creation_commande:do"
    registered = orders.call("POST", REGISTER, body, key=key)
    assert (registered.status_code, set(registered.json())) == (201, {"commande_id"})
    shown = f"/api/v1/ventes-ddd/{registered.json()['commande_id']}/"
    assert orders.get(shown) == {**registered.json(), **body, "total": 29.8, "statut": "ENREGISTREE"}
    assert orders.call("POST", CANCEL, {"undo_of": key}, key=f"{saga_id}:creation_commande:undo").status_code == 200
    assert orders.get(shown)["statut"] == "ANNULEE"
    assert orders.effects(saga_id) == [(key, "do", 29.8), (key, "undo", 29.8)]


def test_a_blocked_client_is_refused_with_a_reason_and_nothing_is_done(orders):
    answer = orders.call("POST", REGISTER, order(client_id=BLOCKED_CLIENT), key="blocked-saga:creation_commande:do")
    assert (answer.status_code, answer.json()["code"]) == (409, "client_bloque")
    assert orders.effects("blocked-saga") == []


def test_an_effect_without_a_key_is_refused_and_told_why(inventory, orders):
    for participant, path, body in [
        (inventory, place(COFFEE) + "reservations/", {"quantite": 1}),
        (inventory, place(COFFEE) + "liberations/", {"quantite": 1, "undo_of": "x:y:do"}),
        (orders, REGISTER, order()),
        (orders, CANCEL, {"undo_of": "x:y:do"}),
    ]:
        answer = participant.call("POST", path, body)
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")
        assert "Idempotency-Key" in answer.json()["detail"]


@pytest.mark.parametrize("quantity", [None, 0, -1, 10_001, 1.5, 2.0, "2", True, [2]])
def test_a_quantity_that_is_not_a_whole_number_in_range_is_refused(inventory, quantity):
    answer = inventory.call("POST", place(COFFEE) + "reservations/", {"quantite": quantity}, key="bad-quantity:do")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert inventory.effects("bad-quantity") == []


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"quantite": NaN}', b"\xff", b"[" * 100_000, b"9" * 5000])
def test_a_body_that_is_not_a_json_object_is_refused(inventory, body):
    url = inventory.url + place(COFFEE) + "reservations/"
    answer = requests.post(url, data=body, headers={"Idempotency-Key": "bad-body:do"}, timeout=10)
    assert (answer.status_code, set(answer.json())) == (400, {"code", "detail"})


def test_a_body_that_is_too_large_is_refused(inventory):
    url = inventory.url + place(COFFEE) + "reservations/"
    answer = requests.post(url, data=b" " * 1_000_001, headers={"Idempotency-Key": "large:do"}, timeout=10)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        (place(COFFEE) + "reservations/", {"quantite": 1}, "bad-key:step:undo"),
        (place(COFFEE) + "reservations/", {"quantite": 1}, "x" * 256),
        (place(COFFEE) + "liberations/", {"quantite": 1}, "bad-key:step:undo"),
        (place(COFFEE) + "liberations/", {"quantite": 1, "undo_of": 7}, "bad-key:step:undo"),
        (place(COFFEE) + "liberations/", {"quantite": 1, "undo_of": "a\u0000b"}, "bad-key:step:undo"),
        (place(COFFEE) + "liberations/", {"quantite": 1, "undo_of": "bad-key:step:undo"}, "bad-key:step:undo"),
    ],
)
def test_a_key_that_cannot_name_a_call_is_refused(inventory, path, body, key):
    assert inventory.call("POST", path, body, key=key).status_code == 400
    assert inventory.effects("bad-key") == []


def line(**changes: object) -> dict[str, object]:
    return {"produit_id": COFFEE, "quantite": 1, "nom": "Café", "prix_unitaire": 14.9, **changes}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"client_id": "not a uuid"}, "client_id"),
        ({"magasin_id": None}, "magasin_id"),
        ({"lignes": []}, "lignes"),
        ({"lignes": ["x"]}, "lignes[0]"),
        ({"lignes": [line(), line(quantite=0)]}, "lignes[1]: quantite"),
        ({"lignes": [line(prix_unitaire=-1)]}, "lignes[0]: prix_unitaire"),
        ({"lignes": [line(prix_unitaire=1.005)]}, "two decimals"),
        ({"lignes": [line(prix_unitaire="14.90")]}, "lignes[0]: prix_unitaire"),
        ({"lignes": [line(nom="\ud800")]}, "lignes[0]: nom"),
    ],
)
def test_an_invalid_order_is_refused_and_told_what_is_wrong(orders, changes, names):
    answer = orders.call("POST", REGISTER, order(**changes), key="invalid-order:creation_commande:do")
    assert answer.status_code == 400
    assert names in answer.json()["detail"]
    assert orders.effects("invalid-order") == []


def test_the_correlation_id_comes_back(inventory):
    answer = requests.get(inventory.url + "/health", headers={"X-Correlation-ID": "abc"}, timeout=10)
    assert answer.headers["X-Correlation-ID"] == "abc"


def test_what_was_committed_survives_a_kill(tmp_path):
    with running("inventaire", tmp_path) as first:
        before = Reservation(first, place(COFFEE))
        answer = before.do()
        first.kill()
        with running("inventaire", tmp_path) as second:
            before.inventory = second
            assert before.do().content == answer.content
            assert before.effects() == ["do"]


def test_a_stop_is_immediate_though_connections_are_kept_open_and_leaves_nothing_behind(tmp_path):
    with running("inventaire", tmp_path, database=":memory:") as service, requests.Session() as session:
        session.get(service.url + "/health", timeout=10)
        scratch = Path(service.log.read_text().split("database ")[1].strip())
        assert scratch.exists()
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 2
        assert not scratch.parent.exists()
        assert not is_listening(service.port)


def test_a_killed_service_answers_no_more(tmp_path):
    with running("inventaire", tmp_path) as service:
        service.kill()
        until(lambda: not is_listening(service.port), "port closed")


def test_a_failing_service_answers_500_in_json_and_logs_one_json_line(tmp_path):
    with running("inventaire", tmp_path) as service:
        with closing(sqlite3.connect(service.database)) as connection:
            connection.execute("ALTER TABLE ledger RENAME TO lost")
        reservation = Reservation(service, place(COFFEE))
        before, answer = reservation.available(), reservation.do()
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert reservation.available() == before
        assert service.call("GET", "/health").status_code == 503
        [entry] = [line for line in logged(service) if line["levelname"] == "ERROR"]
        assert entry["key"] == reservation.key
        assert "no such table: ledger" in entry["exc_info"]


def logged(service):
    return [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]


def test_a_call_is_logged_with_what_joins_it_with_its_caller(tmp_path):
    joining = {"Idempotency-Key": "s:a:do", "X-Correlation-ID": "desk-7", "X-Saga-Id": "s", "traceparent": "00-a-b-01"}
    with running("inventaire", tmp_path) as service:
        requests.get(f"{service.url}{place(COFFEE)}", headers=joining, timeout=10)
        [entry] = logged(service)
        assert (entry["message"], entry["service"], entry["status"]) == ("call answered", "inventaire", 200)
        assert [entry[name] for name in ("key", "correlation_id", "saga_id", "traceparent")] == list(joining.values())


def test_the_help_lists_the_services_and_their_ports():
    command = [sys.executable, "-m", "participants", "--help"]
    text = " ".join(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert "catalogue 8001, inventaire 8002, commandes 8003" in text
