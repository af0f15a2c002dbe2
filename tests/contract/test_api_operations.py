"""The operator's verbs over HTTP: who may, what is asked for, what is refused, and what a saga says of itself."""

import re
from datetime import datetime

import api_support
import pytest
from api_support import ORDER, START, UNKNOWN_ID, problem, shaped, stored

from domain.outcomes import Rejected, Succeeded, Unavailable
from interfaces import contracts
from interfaces.examples import EXAMPLE_INPUTS

api = api_support.api

WHY = {"reason": "ticket 7"}
VERBS = ("retry", "skip", "compensate", "pause", "resume", "resolve")


def at(saga_id, verb=""):
    return f"/api/sagas/transactions/{saga_id}/{verb + '/' if verb else ''}"


def start(api, **answers):
    api.participants.answers.update(answers)
    return api.post(START, {"workflow": "commandes", "input": ORDER}).json()["id"]


@pytest.fixture
def waiting(api):
    """The stock is reserved, and the order service asks to come back in five seconds."""
    return start(api, creation_commande=Unavailable("busy", 5.0))


@pytest.fixture
def parked(api):
    """The order was refused, and so was the release of the stock."""
    return start(api, **{"creation_commande": Rejected("blocked"), "reservation_stock:undo": Rejected("unknown")})


def test_a_waiting_saga_says_what_it_waits_for(api, waiting):
    saga = shaped(api.get(at(waiting)), contracts.SAGA_DETAIL)
    [call] = saga["waiting_for"]
    assert (call["step"], call["service"], call["attempt"], call["budget"]) == ("creation_commande", "commandes", 2, 2)
    assert "creation_commande: the call to commandes, attempt 2 of 2, due at 20" in saga["explanation"]
    assert "last answer from commandes, unavailable: busy. A worker takes it up" in saga["explanation"]
    assert saga["owed"] == ["reservation_stock[0]"]
    api.clock.sleep(60)
    assert "is a worker running" in api.get(at(waiting)).json()["explanation"]


def test_a_parked_saga_says_why_and_what_helps(api, parked):
    saga = shaped(api.get(at(parked)), contracts.SAGA_DETAIL)
    assert saga["status"] == "STUCK"
    assert "Parked: the undo of reservation_stock was given up" in saga["explanation"]
    assert (
        "The last answer to an undo: unknown. Still owed: the undo of reservation_stock[0]. A person must retry it"
        in (saga["explanation"])
    )


def test_ended_sagas_say_how(api):
    assert "Completed in" in api.get(at(start(api))).json()["explanation"]
    refused = api.get(at(start(api, verification_stock=Rejected("sold out")))).json()["explanation"]
    assert "It turned back at verification_stock[0], rejected: sold out." in refused


def test_a_parked_saga_is_retried_and_undone_by_whoever_claims_it(api, parked):
    saga = shaped(api.post(at(parked, "retry"), WHY), contracts.SAGA)
    assert (saga["status"], saga["parked_reason"]) == ("COMPENSATING", None)
    events = api.get(at(parked, "events")).json()["results"]
    act = next(event for event in events if event["type"] == "retry_requested")
    assert (act["actor"], act["reason"]) == ("development", "ticket 7")


@pytest.mark.parametrize("preview", ["query", "body"])
def test_a_preview_shows_the_calls_and_changes_nothing(api, waiting, preview):
    before, calls = stored(), len(api.participants.calls)
    if preview == "query":
        answer = api.post(at(waiting, "compensate") + "?preview=true", WHY)
    else:
        answer = api.post(at(waiting, "compensate"), {**WHY, "preview": True})
    shown = shaped(answer, contracts.PREVIEW)
    [call] = shown["calls"]
    assert (shown["status"], call["method"], call["certain"]) == ("COMPENSATING", "POST", True)
    assert call["path"].endswith("/liberations/")
    assert call["key"].endswith(":reservation_stock[0]:undo")
    assert (stored(), len(api.participants.calls)) == (before, calls)


def test_a_preview_shows_messages_too(api):
    partner = {"nombre": "Sol", "email": "sol@example.org", "telefono": "+34 600 000 000", "direccion": "c/ Mayor 1"}
    api.participants.answers["create_partner"] = Unavailable("busy", 8.0)
    saga_id = api.post(START, {"workflow": "partner_creation", "input": partner}).json()["id"]
    shown = shaped(api.post(at(saga_id, "pause") + "?preview=true", WHY), contracts.PREVIEW)
    assert shown["calls"] == []
    api.post(at(saga_id, "pause"), WHY)
    create, announce = shaped(api.post(at(saga_id, "resume") + "?preview=true", WHY), contracts.PREVIEW)["calls"]
    assert (create["method"], create["certain"]) == ("POST", True)
    assert (announce["method"], announce["service"]) == ("PUBLISH", "gestion-de-integraciones")
    assert announce["body"]["type"] == "CreateAlliance"


def test_a_skipped_step_needs_the_output_that_others_read(api):
    saga_id = start(api, information_produit=Unavailable("busy", 5.0))
    answer = api.post(at(saga_id, "skip"), {**WHY, "step": "information_produit", "item": 0, "output": {"nom": "x"}})
    assert shaped(answer, contracts.SAGA)["status"] == "RUNNING"


def test_a_paused_saga_is_resumed(api, waiting):
    assert shaped(api.post(at(waiting, "pause"), WHY), contracts.SAGA)["status"] == "PAUSED"
    assert "Paused by development" in api.get(at(waiting)).json()["explanation"]
    assert api.post(at(waiting, "pause"), WHY).json()["seq"] == api.get(at(waiting)).json()["seq"]
    assert api.post(at(waiting, "resume"), WHY).json()["status"] == "RUNNING"


def test_a_parked_saga_is_resolved(api, parked):
    saga = shaped(api.post(at(parked, "resolve"), {**WHY, "outcome": "compensated"}), contracts.SAGA)
    assert (saga["status"], saga["state"]) == ("COMPENSATED", "SAGA_ANNULEE")


def test_a_completed_saga_is_undone(api):
    saga_id = start(api)
    saga = shaped(api.post(at(saga_id, "compensate"), WHY), contracts.SAGA)
    assert (saga["status"], saga["finished_at"]) == ("COMPENSATING", None)


def test_what_the_status_does_not_allow_is_a_409_with_advice(api, waiting, parked):
    assert "not PAUSED" in problem(api.post(at(waiting, "resume"), WHY), 409, "not_allowed")["detail"]
    assert "Retry it" in problem(api.post(at(parked, "compensate"), WHY), 409, "not_allowed")["detail"]


def test_a_saga_that_is_driven_is_a_409_that_says_by_whom(api):
    seen, seen_at = [], []

    def meanwhile(task):
        seen_at.append(api.clock.now())
        seen.append(api.post(at(task.saga_id, "pause"), WHY))
        return api_support.Succeeded(api_support.DONE["creation_commande"])

    start(api, creation_commande=meanwhile)
    [answer] = seen
    assert "owns this saga, until" in problem(answer, 409, "saga_driven")["detail"]
    until = datetime.fromisoformat(re.search(r"until (\S+) at most", answer.json()["detail"])[1])
    assert 0 <= int(answer.headers["Retry-After"]) - (until - seen_at[0]).total_seconds() <= 1


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_needs_a_reason_and_names_what_is_wrong(api, waiting, verb):
    before = stored()
    for body in ({}, {"reason": " "}, {"reason": 7}, {"reason": "x" * 501}):
        assert "reason" in problem(api.post(at(waiting, verb), body), 400, "invalid")["errors"]
    assert "colour" in problem(api.post(at(waiting, verb), {**WHY, "colour": 1}), 400)["errors"]
    assert "reason" in problem(api.post(at(waiting, verb) + "?reason=a%00b", {}), 400)["errors"]
    assert "preview" in problem(api.post(at(waiting, verb), {**WHY, "preview": "maybe"}), 400)["errors"]
    assert problem(api.post(at(waiting, verb), []), 400)
    assert stored() == before


def test_fields_of_a_verb_are_checked(api, waiting):
    for body, field in (
        ({}, "step"),
        ({"step": 1}, "step"),
        ({"step": "a", "item": -1}, "item"),
        ({"step": "a", "action": "x"}, "action"),
    ):
        assert field in problem(api.post(at(waiting, "skip"), {**WHY, **body}), 400)["errors"]
    assert "action" in problem(api.post(at(waiting, "skip"), {**WHY, "step": "a", "action": "x"}), 400)["errors"]
    assert "outcome" in problem(api.post(at(waiting, "resolve"), {**WHY, "outcome": "gone"}), 400)["errors"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_saga_is_a_404(api, verb):
    more = {"skip": {"step": "a"}, "resolve": {"outcome": "completed"}}.get(verb, {})
    problem(api.post(at(UNKNOWN_ID, verb), {**WHY, **more}), 404, "saga_not_found")


@pytest.mark.parametrize("group", ["saga-client", "saga-reader"])
def test_only_operators_may(api, waiting, group, settings):
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    settings.SAGA_ORCHESTRATOR_CONFIG = {**config, "DEBUG": False}
    headers = {
        "X_Gateway_Secret": config["KONG_GATEWAY"]["SHARED_SECRET"],
        "X_Consumer_Username": "somebody",
        "X_Consumer_Groups": group,
    }
    problem(api.post(at(waiting, "pause"), WHY, **headers), 403)
    headers["X_Consumer_Groups"] = "saga-operator"
    saga = api.post(at(waiting, "pause"), WHY, **headers).json()
    assert saga["status"] == "PAUSED"


@pytest.mark.parametrize("reason", ["told by phone", ""])
def test_who_gave_a_message_by_hand_and_why_is_in_the_history(api, reason):
    api.participants.answers["create_partner:do"] = Succeeded({"partner_id": "p-1"})
    saga_id = api.post(START, {"workflow": "partner_creation", "input": EXAMPLE_INPUTS["partner_creation"]}).json()[
        "id"
    ]
    signals = at(saga_id, "signals/alliance_created")
    for wrong in ("x" * 501, "a%00b"):
        assert "reason" in problem(api.post(f"{signals}?reason={wrong}", {}), 400, "invalid")["errors"]

    api.post(f"{signals}?reason={reason.replace(' ', '+')}", {"alliance_id": "a-1", "reason": "the message's own"})

    event = api.get(at(saga_id, "events") + "?type=step_succeeded").json()["results"][-1]
    assert (event["actor"], event["reason"]) == ("development", reason or None)


@pytest.fixture
def unanswered(api):
    """A saga that waits for a message."""
    api.participants.answers["create_partner:do"] = Succeeded({"partner_id": "p-1"})
    asked = {"workflow": "partner_creation", "input": EXAMPLE_INPUTS["partner_creation"]}
    return api.post(START, asked).json()["id"]


def test_a_message_by_hand_is_previewed_and_then_given_to_the_saga_that_was_looked_at_alone(api, unanswered):
    signals, before = at(unanswered, "signals/alliance_created"), stored()
    shown = shaped(api.post(f"{signals}?preview=true", {"alliance_id": "a-1"}), contracts.PREVIEW)
    assert (shown["preview"], shown["status"], stored() == before) == (True, "COMPLETED", True)
    refused = api.post(at(unanswered, "signals/alliance_failed") + "?preview=true", {"reason": "no"}).json()
    assert refused["calls"][-1]["method"] == "DELETE"

    for more in ("", "&preview=true"):
        stale = api.post(f"{signals}?expected_seq={shown['seq'] - 1}{more}", {"alliance_id": "a-1"})
        assert "Nothing was done" in problem(stale, 409, "saga_moved")["detail"]
    assert stored() == before
    message = {"alliance_id": "a-1", "preview": True, "expected_seq": 1}
    given = api.post(f"{signals}?expected_seq={shown['seq']}", message)
    assert shaped(given, contracts.SAGA)["status"] == "COMPLETED"


def test_a_refusal_by_hand_cancels_what_the_participant_may_yet_do(api, unanswered):
    api.post(at(unanswered, "signals/alliance_failed") + "?reason=told+by+phone", {"reason": "not solvent"})
    sent = api.get(at(unanswered, "events") + "?type=message_published").json()["results"]
    assert [f"{event['action']} {event['step']}" for event in sent] == ["do create_alliance", "undo create_alliance"]
    assert api.get(at(unanswered)).json()["owed"] == ["create_partner"]


@pytest.mark.parametrize(
    ("query", "named"),
    [("dry_run=true", "dry_run"), ("Preview=true", "Preview"), ("preview=yes", "preview"), ("preview=", "preview")]
    + [(f"expected_seq={wrong}", "expected_seq") for wrong in ("0", "-1", "x", "1.0", "", "9" * 5000, "%D9%A3")],
)
def test_a_message_by_hand_has_no_other_parameters(api, unanswered, query, named):
    before = stored()
    answer = api.post(at(unanswered, "signals/alliance_created") + f"?{query}", {"alliance_id": "a-1"})
    assert named in problem(answer, 400, "invalid")["errors"]
    assert stored() == before


@pytest.mark.parametrize("body", [{}, {"aliance_id": "a-1"}, {"alliance_id": None}])
@pytest.mark.parametrize("query", ["", "?preview=true"])
def test_a_message_by_hand_that_the_step_cannot_read_is_refused_and_says_what_is_missing(api, unanswered, body, query):
    before = stored()
    answer = api.post(at(unanswered, "signals/alliance_created") + query, body)
    detail = problem(answer, 409, "not_allowed")["detail"]
    why = "unreadable answer: it has no alliance_id"
    assert detail == f"create_alliance cannot take this message ({why}). Nothing was done."
    assert stored() == before


def test_an_act_that_expects_the_saga_as_it_was_looked_at_is_done_to_that_alone(api, waiting):
    preview = shaped(api.post(at(waiting, "pause") + "?preview=true", WHY), contracts.PREVIEW)
    assert preview["seq"] == api.get(at(waiting)).json()["seq"]
    api.post(at(waiting, "pause"), {**WHY, "expected_seq": preview["seq"]})

    for more in ({}, {"preview": True}):
        answer = api.post(at(waiting, "resume"), {**WHY, "expected_seq": preview["seq"], **more})
        assert "Nothing was done" in problem(answer, 409, "saga_moved")["detail"]
    assert api.get(at(waiting)).json()["status"] == "PAUSED"
    for wrong in (0, "3", 1.5, True):
        answer = api.post(at(waiting, "resume"), {**WHY, "expected_seq": wrong})
        assert "expected_seq" in problem(answer, 400, "invalid")["errors"]
    assert api.post(at(waiting, "resume"), {**WHY, "expected_seq": preview["seq"] + 1}).json()["status"] == "RUNNING"
