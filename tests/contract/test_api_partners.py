"""Partner creation over HTTP, as its users call it; its messages are given by hand."""

from dataclasses import replace
from uuid import UUID

import api_support
import pytest
from api_support import UNKNOWN_ID, problem, shaped, stored

from application.messages import signal
from application.recovery import claim_due, drive
from domain.outcomes import Rejected, Succeeded
from domain.workflows.partner_creation import PARTNER_CREATION
from infrastructure.models import OutboxRow
from interfaces import contracts
from saga_service import bootstrap

api = api_support.api

START, STATUS, ACTIVE = "/api/v1/saga/partner-creation", "/api/v1/saga/status/", "/api/v1/saga/active"
PARTNER = {
    "nombre": "Example Partner",
    "email": "partner@example.com",
    "telefono": "+1234567890",
    "direccion": "123 Main Street",
    "correlation_id": "unique-correlation-id",
}


@pytest.fixture(autouse=True)
def _integraciones(api):
    created, deleted = Succeeded({"partner_id": "partner-123"}), Succeeded()
    api.participants.answers |= {"create_partner:do": created, "create_partner:undo": deleted}


def work():
    """What a worker does."""
    engine = bootstrap.platform().engine
    lease, claimed = claim_due(engine, 10)
    for one in claimed:
        drive(engine, one, lease)


def status(api, saga_id):
    return shaped(api.get(f"{STATUS}{saga_id}"), contracts.PARTNER)["saga"]


@pytest.fixture
def waiting(api):
    """The partner is created, and its alliance asked for."""
    saga_id = api.post(START, PARTNER).json()["saga_id"]
    work()
    assert status(api, saga_id)["status"] == "alliance_creation_in_progress"
    return saga_id


def test_the_documented_request_starts_a_saga_that_a_worker_drives(api):
    answer = api.post(START, PARTNER)
    started = shaped(answer, contracts.PARTNER_STARTED, 202)
    assert started["mensaje"] == "Partner creation saga started successfully"
    assert (started["correlation_id"], started["status"]) == ("unique-correlation-id", "started")
    assert answer.headers["Location"] == f"{STATUS}{started['saga_id']}"
    assert status(api, started["saga_id"])["status"] in {"started", "partner_creation_in_progress"}


def test_a_partner_is_created_with_its_alliance(api, waiting):
    [command] = OutboxRow.objects.all()
    assert command.topic == "gestion-de-integraciones"
    assert (command.payload["type"], command.payload["partner_id"]) == ("CreateAlliance", "partner-123")
    shown = shaped(api.get(ACTIVE), contracts.PARTNERS_ACTIVE)
    assert [(one["saga_id"], one["status"]) for one in shown["sagas"]] == [(waiting, "alliance_creation_in_progress")]
    answer = {"type": "alliance_created", "alliance_id": "alliance-456"}
    assert signal(bootstrap.platform().engine, command.saga_id, answer, "administracion-financiera-compliance")
    saga = status(api, waiting)
    assert (saga["status"], saga["partner_id"], saga["alliance_id"]) == ("completed", "partner-123", "alliance-456")
    assert saga["completed_at"] is not None
    assert api.get(ACTIVE).json()["total"] == 0


def test_a_refused_alliance_deletes_the_partner(api, waiting):
    signal(bootstrap.platform().engine, UUID(waiting), {"type": "alliance_failed", "reason": "not solvent"})
    assert status(api, waiting)["status"] == "compensating"
    work()
    saga = status(api, waiting)
    assert (saga["status"], saga["error"]) == ("compensated", "not solvent")
    assert api.participants.calls[-1].method == "DELETE"


def test_a_refused_partner_fails_the_saga(api):
    api.participants.answers["create_partner:do"] = Rejected("exists")
    saga_id = api.post(START, PARTNER).json()["saga_id"]
    work()
    assert status(api, saga_id)["status"] == "failed"


def test_a_signal_is_given_by_an_operator(api, waiting):
    at = f"/api/sagas/transactions/{waiting}/signals/"
    explained = api.get(f"/api/sagas/transactions/{waiting}/").json()["explanation"]
    assert "it waits for alliance_created or alliance_failed on administracion-financiera-compliance" in explained
    problem(api.post(f"{at}another/", {}), 409, "not_awaited")
    assert shaped(api.post(f"{at}alliance_created/", {"alliance_id": "a"}), contracts.SAGA)["status"] == "COMPLETED"
    problem(api.post(f"{at}alliance_created/", {"alliance_id": "a"}), 409, "not_awaited")
    problem(api.post(f"/api/sagas/transactions/{UNKNOWN_ID}/signals/x/", {}), 404, "saga_not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"telefono": "call me"}, "telefono"),
        ({"nombre": ""}, "nombre"),
        ({"correlation_id": "a b"}, "correlation_id"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_request_is_told_in_the_apis_words_and_stores_nothing(api, change, field):
    refused = problem(api.post(START, {**PARTNER, **change}), 400)
    assert {"error", "codigo", "saga_id", "timestamp"} <= set(refused)
    assert field in refused["error"]
    assert stored()["sagas"] == 0


def test_an_unknown_saga_is_told_in_the_apis_words(api):
    refused = problem(api.get(f"{STATUS}{UNKNOWN_ID}"), 404)
    assert refused["codigo"] == "SAGA_NOT_FOUND"


def test_the_same_key_starts_one_saga(api):
    first, second = (api.post(START, PARTNER, Idempotency_Key="one").json()["saga_id"] for _ in range(2))
    assert first == second
    problem(api.post(START, {**PARTNER, "nombre": "Other"}, Idempotency_Key="one"), 422)


# --- without a broker -----------------------------------------------------------------------------------------------


def test_nothing_is_started_that_would_speak_to_nobody(api, monkeypatch):
    platform = bootstrap.platform()
    monkeypatch.setattr(bootstrap, "platform", lambda: replace(platform, engine=replace(platform.engine, broker=False)))
    given = {name: value for name, value in PARTNER.items() if name != "correlation_id"}
    refused = problem(api.post(START, PARTNER), 503, "broker_missing")
    assert (refused["codigo"], "BROKER_URL" in refused["error"]) == ("BROKER_MISSING", True)
    problem(api.post("/api/sagas/start/", {"workflow": "partner_creation", "input": given}), 503, "broker_missing")
    assert stored() == {"sagas": 0, "events": 0}
    [shown] = [one for one in api.get("/api/sagas/definitions/").json()["results"] if one["name"] == "partner_creation"]
    assert shown["version"] == PARTNER_CREATION.version, "it is there, for when there is one"
