"""One saga is one trace, told by real processes to a real receiver: whatever drives it, and over whatever it talks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg2
import pytest
from order_stack import BLOCKED, ORDERS, OWN_KEY, Stack, order, running_stack

from devstack import broker
from domain.workflows.commandes import COMMANDES
from tests.contract.participants_support import Participant, running, until
from tests.support.collector import Collector, Received, collecting

ROOT = Path(__file__).resolve().parents[2]
CLIENT_SPAN = "00f067aa0ba902b7"
FORWARD = ["verification_stock", "information_produit", "reservation_stock", "creation_commande"]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def running_orders(postgres_url, tmp_path_factory, collector):
    with running_stack(postgres_url, tmp_path_factory.mktemp("tracing"), collector.environment()) as stack:
        yield stack


@pytest.fixture
def stack(running_orders: Stack):
    yield running_orders
    for service in running_orders.services.values():
        service.call("DELETE", "/_faults")


def given(number: int, flags: str = "01") -> str:
    """The `traceparent` of a client, in a trace of its own."""
    return f"00-{number:032x}-{CLIENT_SPAN}-{flags}"


def told(collector: Collector, number: int) -> list[Received]:
    """All spans of this trace, once its request and its saga are there."""

    def complete() -> list[Received]:
        spans = collector.of(f"{number:032x}")
        names = {span.name.partition(" ")[0] for span in spans}
        return spans if {"POST", "saga"} <= names else []

    return until(complete, f"trace {number} is told")


def tree(spans: list[Received]) -> dict[str, str | None]:
    """Each span's place as `parent > span`, in the order of their beginnings; checkpoints are counted apart."""
    names = {span.id: span.name for span in spans} | {CLIENT_SPAN: "client"}
    assert len(names) == len(spans) + 1, "no id twice"
    return [f"{names[span.parent]} > {span.name}" for span in sorted(spans, key=lambda each: each.begin)]


def one(spans: list[Received], name: str) -> Received:
    [found] = [span for span in spans if span.name == name]
    return found


def calls(stack: Stack, saga_id: str) -> dict[str, str]:
    """The span that each call of this saga arrived with at its participant, by the call's key."""
    lines = [line for service in stack.services.values() for line in service.log.read_text().splitlines()]
    logged = [json.loads(line) for line in lines if saga_id in line and line.startswith("{")]
    return {entry["key"]: entry["traceparent"] for entry in logged if entry["message"] == "call answered"}


def test_an_order_is_one_trace_below_its_client(stack, collector):
    saga = stack.placed(stack.order(order(1), traceparent=given(1)), 201)
    spans = told(collector, 1)

    request = "POST /api/saga/commandes/"
    steps = [f"saga commandes > step {name}" for name in FORWARD]
    attempts = [f"step {name} > attempt {name}" for name in FORWARD]
    assert Counter(tree(spans)) == Counter(
        [
            f"client > {request}",
            f"{request} > saga commandes",
            *steps,
            *attempts,
            *["saga commandes > checkpoint"] * 5,
        ]
    )
    assert {span.service for span in spans} == {"saga-orchestrator"}
    assert {span.failure for span in spans} == {""}
    about = {"saga.id": saga["saga_id"], "saga.workflow": "commandes"}
    ended = {"saga.version": COMMANDES.version, "saga.status": "COMPLETED"}
    assert one(spans, "saga commandes").attributes == {**about, **ended}
    assert one(spans, "attempt reservation_stock").attributes == {
        **about,
        "saga.step": "reservation_stock",
        "saga.item": 0,
        "saga.action": "do",
        "saga.attempt": 1,
        "saga.outcome": "succeeded",
        "saga.service": "inventaire",
        "http.request.method": "POST",
        "http.response.status_code": 201,
    }
    whole = one(spans, request)
    assert whole.attributes["http.response.status_code"] == 201
    for span in spans:
        parent = next((each for each in spans if each.id == span.parent), whole)
        assert parent.begin - 2_000_000 <= span.begin <= span.end <= parent.end + 2_000_000, span


def test_a_participant_is_called_with_the_span_of_the_attempt(stack, collector):
    saga = stack.placed(stack.order(order(1), traceparent=given(2)), 201)
    received = calls(stack, saga["saga_id"])

    attempts = {span.id for span in told(collector, 2) if span.name.startswith("attempt")}
    assert {trace[36:52] for trace in received.values()} == attempts
    assert {trace[:36] + trace[-3:] for trace in received.values()} == {f"00-{2:032x}--01"}


def test_an_order_that_is_refused_shows_what_was_undone(stack, collector):
    stack.placed(stack.order(order(1, client=BLOCKED), traceparent=given(3)), 409)
    spans = told(collector, 3)

    places = tree(spans)
    assert "saga commandes > undo reservation_stock" in places
    assert "undo reservation_stock > attempt reservation_stock" in places
    assert {span.name: span.failure for span in spans if span.failure} == {
        "saga commandes": "rejected",
        "step creation_commande": "rejected",
        "attempt creation_commande": "rejected",
    }
    assert one(spans, "saga commandes").happened == ["compensation_started"]
    assert {span.attributes.get("http.response.status_code") for span in spans if span.failure} == {None, 409}


def test_nothing_that_a_client_or_a_participant_wrote_is_in_a_span(stack, collector):
    client = "12345678-0000-4000-8000-00000000cafe"
    stack.placed(stack.order(order(1, client=client), traceparent=given(4)), 201)
    stack.placed(stack.order(order(1, client=BLOCKED), traceparent=given(5)), 409)
    shown = repr([told(collector, 4), told(collector, 5)])

    assert client not in shown and BLOCKED not in shown and OWN_KEY not in shown
    assert "HTTP 409" not in shown, "a reason is the participant's own words"


def test_a_trace_that_its_client_does_not_sample_is_passed_on_and_not_told(stack, collector):
    saga = stack.placed(stack.order(order(1), traceparent=given(6, flags="00")), 201)
    stack.placed(stack.order(order(1), traceparent=given(7)), 201)
    told(collector, 7)

    assert collector.of(f"{6:032x}") == []
    assert {trace[:36] + trace[-3:] for trace in calls(stack, saga["saga_id"]).values()} == {f"00-{6:032x}--00"}


@pytest.mark.parametrize("wrong", ["00-nonsense", f"00-{'0' * 32}-{CLIENT_SPAN}-01", f"ff-{8:032x}-{CLIENT_SPAN}-01"])
def test_a_request_with_a_wrong_traceparent_begins_a_trace_of_its_own(stack, collector, wrong):
    saga = stack.placed(stack.order(order(1), traceparent=wrong), 201)
    mine = {"saga.id": saga["saga_id"]}.items()

    own = until(
        lambda: [each for each in collector.named("saga commandes") if mine <= each.attributes.items()], "it is told"
    )[0]
    request = until(lambda: [each for each in collector.of(own.trace) if each.id == own.parent], "its request")[0]
    assert (request.name, request.parent) == ("POST /api/saga/commandes/", "")
    assert own.trace not in wrong


def test_log_lines_of_a_saga_are_joined_with_its_trace(stack, collector):
    saga = stack.placed(stack.order(order(1), traceparent=given(9), X_Correlation_ID="till-9"), 201)
    lines = [json.loads(line) for line in stack.logs().splitlines() if saga["saga_id"] in line]
    spans = {span.id: span.name for span in told(collector, 9)}

    assert {(line["correlation_id"], line["trace_id"]) for line in lines} == {("till-9", f"{9:032x}")}
    assert {spans[line["span_id"]] for line in lines if line["message"] == "saga_completed"} == {"saga commandes"}
    named = {(line["step"], spans[line["span_id"]]) for line in lines if line["message"] == "step_succeeded"}
    assert named == {(name, f"attempt {name}") for name in FORWARD}


def test_a_worker_that_takes_over_from_a_killed_one_goes_on_in_the_same_trace(stack, collector):
    stack.services["commandes"].fault("delay", "enregistrer", seconds=60, times=1)
    started = stack.order(order(1), traceparent=given(10), Prefer="respond-async").json()
    until(lambda: len(calls(stack, started["saga_id"])) >= 3 and reached(stack, started), "the last call is under way")
    until(lambda: any(each.name == "step reservation_stock" for each in collector.of(f"{10:032x}")), "it is told")
    worker = stack.processes.pop()
    worker.kill()
    worker.wait(10)
    let_the_lease_expire(stack, started["saga_id"])
    stack.run("worker", "manage.py", "saga_worker", "--poll", "0.1")

    until(lambda: stack.get(f"{ORDERS}{started['saga_id']}/").json()["etat"] == "SAGA_TERMINEE", "it is completed")
    spans = told(collector, 10)
    places = tree(spans)
    assert [each for each in places if each.startswith("saga commandes > step")] == [
        f"saga commandes > step {name}" for name in FORWARD
    ]
    assert "step creation_commande > attempt creation_commande" in places
    assert one(spans, "saga commandes").happened == ["driver_replaced"]
    assert one(spans, "attempt creation_commande").id in {
        trace[36:52] for trace in calls(stack, started["saga_id"]).values()
    }


TRACING = """
import django; django.setup()
from infrastructure.saga_spans import Span
from infrastructure.tracing import tracer
tracer().send([Span("a" * 32, "n", "b" * 16, None, 1, 2, {})] * 5000)
"""


def test_a_collector_that_does_not_answer_holds_up_the_end_of_a_process_by_seconds_only():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        command = [sys.executable, "-c", TRACING]
        began = time.monotonic()
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )

    assert time.monotonic() - began < 9, "before docker kills it"
    assert "spans are lost" in done.stderr


def test_what_still_waits_is_sent_when_the_processes_end_in_order(postgres_url, tmp_path, collector):
    more = {**collector.environment(), "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with running_stack(postgres_url, tmp_path, more) as stack:
        stack.placed(stack.order(order(1), traceparent=given(12)), 201)
        started = stack.order(order(1), traceparent=given(13), Prefer="respond-async").json()
        until(lambda: stack.get(f"{ORDERS}{started['saga_id']}/").json()["etat"] == "SAGA_TERMINEE", "it is completed")
        assert collector.of(f"{12:032x}") == [] == collector.of(f"{13:032x}")

    for number in (12, 13):
        names = [span.name for span in collector.of(f"{number:032x}")]
        assert {"POST /api/saga/commandes/", "saga commandes"} <= set(names)


def reached(stack: Stack, saga: dict[str, str]) -> bool:
    rules = stack.services["commandes"].get("/_faults")["rules"]
    return any(rule["used"] for rule in rules)


def let_the_lease_expire(stack: Stack, saga_id: str) -> None:
    with psycopg2.connect(stack.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE sagas SET lease_expires_at = now() - interval '1 s' WHERE id = %s", [saga_id])
        assert cursor.rowcount == 1
    connection.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    short = Path(tempfile.mkdtemp(prefix="tracing-"))
    yield short
    broker.kill(short / "broker")
    shutil.rmtree(short, ignore_errors=True)


def test_a_partner_is_one_trace_over_http_and_the_broker(postgres_url, directory, collector):
    url = broker.ensure_running(directory / "broker")
    with ExitStack() as context:
        integraciones = context.enter_context(running("integraciones", directory, "--broker", url))
        alianzas = context.enter_context(running("alianzas", directory, "--broker", url))
        more = {**collector.environment(), "BROKER_URL": url, "INTEGRACIONES_API_URL": integraciones.url}
        stack = context.enter_context(running_stack(postgres_url, directory, more))
        body = {"nombre": "Acme", "email": "acme@example.com", "telefono": "+1234567890", "direccion": "Main Street 1"}
        started = stack.ask("POST", "/api/v1/saga/partner-creation", {"traceparent": given(11)}, json=body)
        assert started.status_code == 202, started.text
        told(collector, 11)
        commands, answers = "gestion-de-integraciones", "administracion-financiera-compliance"
        until(lambda: collector.named(f"process {answers}"), "the answer is told")

    spans = collector.of(f"{11:032x}")
    places = tree(spans)
    for expected in [
        "saga partner_creation > step create_partner",
        "step create_partner > attempt create_partner",
        "saga partner_creation > step create_alliance",
        f"step create_alliance > publish {commands}",
        "step create_alliance > await create_alliance",
        f"publish {commands} > process {answers}",
    ]:
        assert expected in places, places
    assert one(spans, f"publish {commands}").id in command_of(alianzas)


def command_of(alianzas: Participant) -> str:
    """What the participant said of the command that it took."""
    [line] = [line for line in alianzas.log.read_text().splitlines() if "command taken" in line]
    return json.loads(line)["traceparent"]
