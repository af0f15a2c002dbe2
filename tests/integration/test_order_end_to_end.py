"""Orders through real processes: the orchestrator under gunicorn, its worker, and the three participants."""

import http.client
import json
import os
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from order_stack import (
    BLOCKED,
    CREATING,
    HEAD,
    ORDERS,
    OWN_KEY,
    PRODUCT,
    SECRETS,
    UNDOING,
    Stack,
    order,
    path_of,
    running_stack,
)

from devstack.bench_measure import children
from tests.contract.participants_support import until

RESERVED, RELEASED = ("reservation_stock", "do"), ("reservation_stock", "undo")
CREATED, CANCELLED = ("creation_commande", "do"), ("creation_commande", "undo")
RESERVE, RELEASE, REGISTER = "reservations", "liberations", "enregistrer"


@pytest.fixture(scope="module")
def running(postgres_url, tmp_path_factory):
    with running_stack(postgres_url, tmp_path_factory.mktemp("orders")) as stack:
        yield stack


@pytest.fixture
def stack(running: Stack):
    yield running
    for service in running.services.values():
        service.call("DELETE", "/_faults")


def test_an_order_goes_through(stack):
    before = stack.stock()

    saga = stack.placed(stack.order(order(2)), 201)

    assert path_of(saga) == [*CREATING, "COMMANDE_CREEE", "SAGA_TERMINEE"]
    line = {"produit_id": PRODUCT, "quantite": 2, "nom": "Café en grains 1 kg", "prix_unitaire": 14.9}
    assert (saga["lignes"], saga["erreur"]) == ([line], None)
    registered = stack.services["commandes"].get(f"/api/v1/ventes-ddd/{saga['commande_id']}/")
    assert (registered["statut"], registered["total"]) == ("ENREGISTREE", 29.8)
    assert stack.stock() == before - 2
    assert stack.effects(saga) == {RESERVED: 1, CREATED: 1}


@pytest.mark.parametrize(
    ("body", "path", "effects"),
    [
        pytest.param(order(1000), [*HEAD[:2], "ECHEC_STOCK_INSUFFISANT", "SAGA_ANNULEE"], {}, id="more than there is"),
        pytest.param(
            order(300, 250),
            [*HEAD, "ECHEC_RESERVATION_STOCK", *UNDOING],
            {RESERVED: 1, RELEASED: 1},
            id="two lines that together are more than there is",
        ),
        pytest.param(
            order(3, 4, client=BLOCKED),
            [*CREATING, "ECHEC_CREATION_COMMANDE", *UNDOING],
            {RESERVED: 2, RELEASED: 2},
            id="a blocked client",
        ),
    ],
)
def test_a_refused_order_leaves_the_stock_as_it_was(stack, body, path, effects):
    before = stack.stock()

    saga = stack.placed(stack.order(body), 409)

    assert path_of(saga) == path
    assert saga["erreur"] and saga["commande_id"] is None
    assert stack.stock() == before
    assert stack.effects(saga) == effects


@pytest.mark.parametrize(
    ("service", "path", "fault"),
    [
        ("inventaire", RESERVE, "answer_lost"),
        ("commandes", REGISTER, "answer_lost"),
        ("commandes", REGISTER, "truncated"),
        ("commandes", REGISTER, "html"),
        ("inventaire", RESERVE, "duplicate"),
        ("inventaire", RESERVE, "reset"),
    ],
)
def test_an_answer_that_is_lost_is_asked_for_again_and_the_effect_stays_one(stack, service, path, fault):
    before = stack.stock()
    stack.services[service].fault(fault, path, times=1)

    saga = stack.placed(stack.order(order(2)), 201)

    assert stack.stock() == before - 2
    assert stack.effects(saga) == {RESERVED: 1, CREATED: 1}


def test_an_order_that_was_created_but_never_said_so_is_cancelled(stack):
    before = stack.stock()
    stack.services["commandes"].fault("fail", REGISTER, execute=True)

    saga = stack.placed(stack.order(order(2)), 502)

    assert path_of(saga) == [*CREATING, "ECHEC_CREATION_COMMANDE", *UNDOING]
    assert saga["erreur"].startswith("HTTP 500")
    assert stack.effects(saga) == {RESERVED: 1, CREATED: 1, CANCELLED: 1, RELEASED: 1}
    assert stack.stock() == before


def test_a_participant_that_is_down_is_a_502_and_what_was_done_is_undone(stack):
    before = stack.stock()
    with stack.services["commandes"].away():
        answer = stack.order(order(2))

    saga = stack.placed(answer, 502)
    assert path_of(saga) == [*CREATING, "ECHEC_CREATION_COMMANDE", *UNDOING]
    assert "cannot connect" in saga["erreur"]
    assert stack.effects(saga) == {RESERVED: 1, RELEASED: 1}
    assert stack.stock() == before


def test_a_participant_slower_than_its_time_is_asked_again_and_does_it_once(stack):
    before = stack.stock()
    stack.services["commandes"].fault("delay", REGISTER, seconds=5.5, times=1)

    saga = stack.placed(stack.order(order(2)), 201)

    answers = [event["resultat"] for event in saga["historique"] if event["etape"] == "creation_commande"]
    assert [answer for answer in answers if answer] == ["unknown", "succeeded"]
    assert stack.effects(saga) == {RESERVED: 1, CREATED: 1}
    assert stack.stock() == before - 2


def test_an_undo_that_must_wait_is_answered_202_and_finished_by_the_worker(stack):
    before = stack.stock()
    stack.services["inventaire"].fault("fail", RELEASE, status=503, headers={"Retry-After": "3"}, times=1)

    answer = stack.order(order(2, client=BLOCKED))

    assert answer.status_code == 202, answer.text
    assert (answer.json()["etat"], answer.headers["Retry-After"]) == ("COMPENSATION_EN_COURS", "1")
    location = answer.headers["Location"]
    saga = until(lambda: (found := stack.get(location).json())["termine_le"] and found, "undone by the worker")
    assert path_of(saga) == [*CREATING, "ECHEC_CREATION_COMMANDE", *UNDOING]
    assert stack.effects(saga) == {RESERVED: 1, RELEASED: 1}
    assert stack.stock() == before


def test_an_order_that_nobody_waits_for_is_done_by_the_worker(stack):
    answer = stack.order(order(1), Prefer="respond-async", X_Correlation_ID="desk-78")

    assert (answer.status_code, answer.json()["etat"]) == (202, "VERIFICATION_STOCK")
    location = answer.headers["Location"]
    saga = until(lambda: (found := stack.get(location).json())["termine_le"] and found, "done by the worker")
    assert saga["etat"] == "SAGA_TERMINEE"
    assert stack.effects(saga) == {RESERVED: 1, CREATED: 1}
    told = [
        line for line in map(json.loads, stack.log("worker").splitlines()) if line.get("saga_id") == saga["saga_id"]
    ]
    assert told and {line["correlation_id"] for line in told} == {"desk-78"}


def test_fifty_equal_requests_at_once_are_one_order(stack):
    before, total = stack.stock(), stack.get("/api/sagas/statistics/").json()["total"]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: stack.order(order(2), Idempotency_Key="fifty"), range(50)))

    assert {answer.status_code for answer in answers} == {201}
    first = answers[0].json()
    assert all(answer.json() == first for answer in answers)
    saga = stack.placed(answers[0], 201)
    assert stack.effects(saga) == {RESERVED: 1, CREATED: 1}
    assert stack.stock() == before - 2
    assert stack.get("/api/sagas/statistics/").json()["total"] == total + 1


def test_a_body_after_a_head_does_not_confuse_a_kept_connection(stack):
    with requests.Session() as session:
        head = session.head(f"{stack.url}/health", timeout=10)
        again = session.get(f"{stack.url}/health", timeout=10)

    assert (head.status_code, head.content) == (200, b"")
    assert again.json() == {"status": "ok"}


# --- what is told of it ---------------------------------------------------------------------------------------------


def samples(stack):
    """Every sample, by its name and labels."""
    lines = [line for line in stack.get("/metrics/").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


COUNTED = (
    'saga_total{workflow="commandes"}',
    'saga_etapes_total{etape="creation_commande",statut="succeeded",workflow="commandes"}',
    'services_externes_calls_total{methode="POST",service="commandes",statut="201"}',
)


def workers(stack):
    """gunicorn's worker processes."""
    master = stack.processes[0].pid
    return {pid for pid in children(master) if pid != master}


def with_new_workers(stack):
    """The samples once both workers were ended, as they are for a new release, and others have taken their place."""
    old = workers(stack)
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    until(lambda: len(workers(stack) - old) == len(old) and not workers(stack) & old, "others have taken their place")
    until(stack.is_ready, "they serve")
    return samples(stack)


def test_both_workers_processes_count_together_and_either_tells_all(stack):
    before = with_new_workers(stack)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stack.order(order(1)), range(24)))
    assert {answer.status_code for answer in answers} == {201}

    def grown():
        now = samples(stack)
        return [now[name] - before.get(name, 0) for name in COUNTED]

    until(lambda: grown() == [24, 24, 24], "both have written what they counted")
    assert [grown() for _ in range(12)] == [[24, 24, 24]] * 12
    wrote = {path.stem for path in (stack.directory / "metrics").glob("counter_*.db")}
    assert {f"counter_{pid}" for pid in workers(stack)} <= wrote, "two processes wrote"


def test_what_a_process_counted_is_told_after_it_ended(stack):
    before = with_new_workers(stack)
    assert stack.order(order(1)).status_code == 201
    now = with_new_workers(stack)

    assert [now[name] - before.get(name, 0) for name in COUNTED] == [1, 1, 1]


def test_every_log_line_is_one_json_object_and_no_secret_is_in_any(stack):
    stack.services["commandes"].fault("fail", REGISTER, execute=True)
    answer = stack.order(order(2), X_Correlation_ID="desk-77")
    pages = [answer.text, *(stack.get(path).text for path in ("/metrics/", "/api/status/", "/api/saga/health/"))]
    pages += [stack.get(ORDERS + answer.json()["saga_id"] + "/").text, stack.ask("GET", "/x", {"X-API-Key": "no"}).text]

    lines = [json.loads(line) for line in stack.logs().splitlines()]

    own = [line for line in lines if line.get("saga_id") == answer.json()["saga_id"]]
    assert {"saga_started", "attempt_failed", "compensation_started", "saga_compensated"} <= {x["message"] for x in own}
    assert {line["correlation_id"] for line in own} == {"desk-77"}
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    for secret in (*SECRETS.values(), OWN_KEY):
        assert not [page for page in (*pages, stack.logs()) if secret in page]


def raw(stack, *parts, path=ORDERS, half_closed=False):
    """What is answered to the bytes of a request."""
    address = stack.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), 30) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {OWN_KEY}\r\nContent-Type: application/json\r\n"
        client.sendall(head.encode())
        for part in parts:
            client.sendall(part)
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return answer.status, answer.read()


def test_an_order_in_chunks_is_an_order(stack):
    body = json.dumps(order(1)).encode()
    parts = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:90], body[90:])]

    status, answer = raw(stack, b"Transfer-Encoding: chunked\r\n\r\n", *parts, b"0\r\n\r\n")

    assert status == 201, answer


@pytest.mark.parametrize("kind", ["a length", "chunks"])
def test_a_truncated_order_is_none(stack, kind):
    body = json.dumps(order(1)).encode()
    before = stack.get("/api/sagas/statistics/").json()["total"]
    said = {
        "a length": b"Content-Length: %d\r\n\r\n%s" % (len(body) + 5, body),
        "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body),
    }

    status, answer = raw(stack, said[kind], half_closed=True)

    assert (status, json.loads(answer)["code"]) == (400, "body_incomplete")
    assert stack.get("/api/sagas/statistics/").json()["total"] == before


def test_a_client_that_resets_while_it_sends_is_no_defect(stack):
    address = stack.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(f"POST {ORDERS} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {OWN_KEY}\r\n".encode())
        client.sendall(b"Content-Type: application/json\r\nX-Correlation-ID: gone-1\r\nContent-Length: 200\r\n\r\n{")
        time.sleep(0.3)

    until(lambda: "gone-1" in stack.log("orchestrator"), "it is logged")
    lines = [json.loads(line) for line in stack.log("orchestrator").splitlines()]
    assert [line["level"] for line in lines if line.get("correlation_id") == "gone-1"] == ["INFO"]
    assert not [line for line in lines if "exc_info" in line]
