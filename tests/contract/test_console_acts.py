"""The acts of the console, on sagas of every workflow as they may stand: what was previewed is what is done."""

import re
from html import unescape
from uuid import UUID

import api_support
import pytest
from api_support import START

from application.messages import signal
from application.recovery import claim_due, drive
from domain.outcomes import Rejected, Succeeded, Unavailable
from interfaces.console.operate import TITLES
from interfaces.examples import EXAMPLE_INPUTS
from saga_service import bootstrap

api = api_support.api

STEPS = {
    "commandes": ("verification_stock", "creation_commande", "reservation_stock"),
    "cashout_flow": ("cashout_validation", "liability_update", "wallet_credit"),
    "order_processing": ("create_order", "confirm_order", "process_payment"),
    "flight_booking": ("RESERVE_SEAT", "CONFIRM_BOOKING", "PROCESS_PAYMENT"),
    "partner_creation": ("create_partner", "create_alliance", "create_partner"),
}
"""Of each workflow that ships its first step, one that is refused, and an earlier one whose undo is refused then."""
GIVEN = {
    "create_partner:do": {"partner_id": "p-1"},
    "create_order": {"id": 71},
    "process_payment": {"id": 5},
    "confirm_order": {"status": "CONFIRMED"},
}
STANDINGS = ("pending", "waiting", "paused", "parked", "completed")


def work():
    """What a worker does."""
    engine = bootstrap.platform().engine
    lease, claimed = claim_due(engine, 10)
    for one in claimed:
        drive(engine, one, lease)


def begun(api, workflow):
    """A saga that nobody has driven yet."""
    api.participants.answers |= {step: Succeeded(output) for step, output in GIVEN.items()}
    body = {"workflow": workflow, "input": EXAMPLE_INPUTS[workflow]}
    return api.post(START, body, Prefer="respond-async").json()["id"]


def standing(api, workflow, how):
    """A saga of this workflow that stands so."""
    saga_id = begun(api, workflow)
    first, fails, stays = STEPS[workflow]
    if how == "waiting":
        api.participants.answers[f"{first}:do"] = Unavailable("busy", 5.0)
    if how == "paused":
        api.post(f"/api/sagas/transactions/{saga_id}/pause/", {"reason": "first a look"})
    if how == "parked":
        api.participants.answers |= {fails: Rejected("no"), f"{stays}:undo": Rejected("gone")}
    if how != "pending":
        work()
    if workflow == "partner_creation" and how in {"parked", "completed"}:
        told = {"parked": "alliance_failed", "completed": "alliance_created"}[how]
        signal(bootstrap.platform().engine, UUID(saga_id), {"type": told, "alliance_id": "a-1"})
        work()
    return saga_id


def saga(api, saga_id):
    return api.get(f"/api/sagas/transactions/{saga_id}/").json()


def hidden(page):
    """The fields that a form brings along, with the preview that was seen."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)}


@pytest.mark.parametrize("how", STANDINGS)
@pytest.mark.parametrize("workflow", STEPS)
def test_every_act_on_every_saga_is_shown_and_done_or_refused_in_words(api, workflow, how):
    statuses = {"pending": "RUNNING", "waiting": "RUNNING", "paused": "PAUSED", "parked": "STUCK"}
    for verb in TITLES:
        saga_id = standing(api, workflow, how)
        assert saga(api, saga_id)["status"] == statuses.get(how, how.upper()), saga(api, saga_id)
        path = f"/console/sagas/{saga_id}/{verb}/"
        form = api.http.get(path)
        assert form.status_code == 200, (verb, form.content)
        place = re.search(r'name="place" value="([^"]+)"', form.content.decode())
        chosen = {
            "skip": {"place": unescape(place[1]) if place else "do:none", "output": '{"id": 1}'},
            "resolve": {"outcome": "completed"},
            "signal": {"type": "alliance_created", "body": '{"alliance_id": "a-2"}'},
        }.get(verb, {})
        shown = api.http.get(path, chosen)
        assert shown.status_code == 200, (verb, shown.content)
        done = api.http.post(path, {**hidden(shown.content.decode()), **chosen, "reason": "by hand"})
        assert done.status_code in {303, 400}, (verb, done.content)
        assert done.status_code == 303 or 'role="alert"' in done.content.decode(), verb
        api.participants.answers.clear()


UNREADABLE = ["NaN", '{"id": Infinity}', '"a\\u0000b"', '"\\ud800"', "1e999", "9" * 5000, "[" * 5000 + "]" * 5000, "{"]


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_is_no_json_for_the_api_is_none_for_a_form_and_changes_nothing(api, text):
    for workflow, verb, field in (("flight_booking", "skip", "output"), ("partner_creation", "signal", "body")):
        saga_id = standing(api, workflow, "waiting" if verb == "skip" else "sent")
        before = saga(api, saga_id)["seq"]
        fields = {"place": "do:RESERVE_SEAT", "type": "alliance_created", "reason": "by hand", field: text}
        answer = api.http.post(f"/console/sagas/{saga_id}/{verb}/", fields)

        assert answer.status_code == 400
        assert 'class="fault"' in answer.content.decode()
        assert saga(api, saga_id)["seq"] == before


@pytest.mark.parametrize("place", [f"do:RESERVE_SEAT[{'9' * 5000}]", "do:RESERVE_SEAT[٣]", "do:RESERVE_SEAT[7]"])
def test_an_item_that_there_cannot_be_is_said_so(api, place):
    saga_id = standing(api, "flight_booking", "waiting")
    answer = api.http.get(f"/console/sagas/{saga_id}/skip/", {"place": place})

    assert answer.status_code == 200
    assert re.search('class="fault"|banner bad" role="alert"', answer.content.decode())


def test_a_message_that_is_given_by_hand_has_its_giver_and_the_reason_in_the_history(api):
    saga_id = standing(api, "partner_creation", "sent")
    fields = {"type": "alliance_created", "body": '{"alliance_id": "a-7"}', "reason": "Ana said so by phone"}
    answer = api.http.post(f"/console/sagas/{saga_id}/signal/", fields)

    assert answer.status_code == 303
    event = api.get(f"/api/sagas/transactions/{saga_id}/events/?type=step_succeeded").json()["results"][-1]
    assert (event["actor"], event["reason"]) == ("development", "Ana said so by phone")
