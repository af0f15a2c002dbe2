"""The acts of the console, on sagas of every workflow as they may stand: what was previewed is what is done."""

import re
from html import unescape
from uuid import UUID

import api_support
import pytest
from api_support import START

from application.messages import signal
from application.operations import Operations
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
STANDINGS = ("pending", "waiting", "paused", "held", "parked", "completed")


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
    if how in {"waiting", "held"} and (workflow, how) != ("partner_creation", "held"):
        api.participants.answers[f"{first}:do"] = Unavailable("busy", 5.0)
    if how == "paused":
        api.post(f"/api/sagas/transactions/{saga_id}/pause/", {"reason": "first a look"})
    if how == "parked":
        api.participants.answers |= {fails: Rejected("no"), f"{stays}:undo": Rejected("gone")}
    if how != "pending":
        work()
    if how == "held":
        api.post(f"/api/sagas/transactions/{saga_id}/pause/", {"reason": "while it waits"})
    if workflow == "partner_creation" and how in {"parked", "completed"}:
        told = {"parked": "alliance_failed", "completed": "alliance_created"}[how]
        signal(bootstrap.platform().engine, UUID(saga_id), {"type": told, "alliance_id": "a-1"})
        work()
    return saga_id


def saga(api, saga_id):
    return api.get(f"/api/sagas/transactions/{saga_id}/").json()


def events(api, saga_id):
    return api.get(f"/api/sagas/transactions/{saga_id}/events/?limit=200").json()["results"]


def hidden(page):
    """The fields that a form brings along, with the preview that was seen."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)}


@pytest.mark.parametrize("how", STANDINGS)
@pytest.mark.parametrize("workflow", STEPS)
def test_every_act_on_every_saga_is_shown_and_done_or_refused_in_words(api, workflow, how):
    statuses = {"pending": "RUNNING", "waiting": "RUNNING", "paused": "PAUSED", "held": "PAUSED", "parked": "STUCK"}
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
        preview = api.http.get(path, chosen)
        assert preview.status_code == 200, (verb, preview.content)
        answer = api.http.post(path, {**hidden(preview.content.decode()), **chosen, "reason": "by hand"})
        previewed = 'name="seen"' in preview.content.decode()
        assert answer.status_code == (303 if previewed else 400), (verb, answer.content)
        assert previewed or 'role="alert"' in answer.content.decode(), verb
        api.participants.answers.clear()


UNREADABLE = ["NaN", '{"id": Infinity}', '"a\\u0000b"', '"\\ud800"', "1e999", "9" * 5000, "[" * 5000 + "]" * 5000, "{"]


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize("method", ["get", "post"])
def test_what_is_no_json_for_the_api_is_none_for_a_form_and_changes_nothing(api, text, method):
    for workflow, verb, field in (("flight_booking", "skip", "output"), ("partner_creation", "signal", "body")):
        saga_id = standing(api, workflow, "waiting" if verb == "skip" else "sent")
        before = saga(api, saga_id)["seq"]
        fields = {"place": "do:RESERVE_SEAT", "type": "alliance_created", "reason": "by hand", field: text}
        answer = getattr(api.http, method)(f"/console/sagas/{saga_id}/{verb}/", fields)

        assert answer.status_code == (200 if method == "get" else 400)
        assert 'class="fault"' in answer.content.decode()
        assert saga(api, saga_id)["seq"] == before


@pytest.mark.parametrize("place", [f"do:RESERVE_SEAT[{'9' * 5000}]", "do:RESERVE_SEAT[٣]", "do:RESERVE_SEAT[7]"])
def test_an_item_that_there_cannot_be_is_said_so(api, place):
    saga_id = standing(api, "flight_booking", "waiting")
    answer = api.http.get(f"/console/sagas/{saga_id}/skip/", {"place": place})

    assert answer.status_code == 200
    assert re.search('class="fault"|banner bad" role="alert"', answer.content.decode())


def shown(api, saga_id, verb, **chosen):
    """The page with what would follow, and the form that would do it."""
    page = api.http.get(f"/console/sagas/{saga_id}/{verb}/", chosen).content.decode()
    return page, {**chosen, "seen": hidden(page)["seen"], "chosen": hidden(page)["chosen"], "reason": "by hand"}


def done(api, saga_id, verb, form):
    return api.http.post(f"/console/sagas/{saga_id}/{verb}/", form)


def test_a_message_that_is_given_by_hand_is_previewed_and_has_its_giver_and_the_reason_in_the_history(api):
    saga_id = standing(api, "partner_creation", "sent")
    page, form = shown(api, saga_id, "signal", type="alliance_created", body='{"alliance_id": "a-7"}')
    assert 'data-status="COMPLETED"' in page

    assert done(api, saga_id, "signal", {**form, "reason": "Ana said so by phone"}).status_code == 303
    event = api.get(f"/api/sagas/transactions/{saga_id}/events/?type=step_succeeded").json()["results"][-1]
    assert (event["actor"], event["reason"]) == ("development", "Ana said so by phone")


def test_a_message_that_the_step_cannot_read_is_refused_on_the_page_and_says_what_is_missing(api):
    saga_id = standing(api, "partner_creation", "sent")
    before, chosen = saga(api, saga_id)["seq"], {"type": "alliance_created", "body": '{"aliance_id": "a-7"}'}
    previewed = api.http.get(f"/console/sagas/{saga_id}/signal/", chosen)
    posted = done(api, saga_id, "signal", {**chosen, "reason": "by hand", "seen": str(before)})

    for answer, status in ((previewed, 200), (posted, 400)):
        assert answer.status_code == status
        assert "create_alliance cannot take this message" in answer.content.decode()
        assert "it has no alliance_id" in answer.content.decode()
        assert 'name="seen"' not in answer.content.decode()
    assert saga(api, saga_id)["seq"] == before


def test_a_saga_that_waits_for_no_message_is_given_none(api):
    saga_id = standing(api, "flight_booking", "waiting")

    assert "It waits for no message now" in api.http.get(f"/console/sagas/{saga_id}/signal/").content.decode()
    answer = done(api, saga_id, "signal", {"type": "alliance_created", "body": "{}", "reason": "x", "seen": "3"})
    assert answer.status_code == 400
    assert "does not wait for this message" in answer.content.decode()


ALSO = [
    ("resolve", {"outcome": "completed"}, {"outcome": "compensated"}),
    ("skip", {"place": "undo:PROCESS_PAYMENT"}, {"place": "undo:RESERVE_SEAT"}),
    ("skip", {"place": "undo:PROCESS_PAYMENT"}, {"output": '{"id": 1}'}),
]


@pytest.mark.parametrize(("verb", "previewed", "posted"), ALSO)
def test_another_choice_than_was_previewed_is_previewed_and_not_done(api, verb, previewed, posted):
    saga_id = standing(api, "flight_booking", "parked")
    before = saga(api, saga_id)["seq"]
    _, form = shown(api, saga_id, verb, **previewed)
    answer = done(api, saga_id, verb, {**form, **posted})
    page = answer.content.decode()

    assert answer.status_code == 400
    assert "Something else is chosen" in page or "has no output" in page or "owes no undo" in page
    assert saga(api, saga_id)["seq"] == before
    if verb == "resolve":
        assert done(api, saga_id, verb, {**form, **posted, **hidden(page)}).status_code == 303
        assert saga(api, saga_id)["status"] == "COMPENSATED"


@pytest.mark.parametrize("verb", sorted(TITLES))
@pytest.mark.parametrize("lost", ["seen", "chosen"])
def test_without_a_preview_nothing_is_done(api, verb, lost):
    how = {"resume": "paused", "signal": "sent", "skip": "parked", "retry": "parked", "resolve": "parked"}
    workflow = "partner_creation" if verb == "signal" else "commandes"
    saga_id = standing(api, workflow, how.get(verb, "waiting"))
    chosen = {
        "skip": {"place": "undo:reservation_stock"},
        "resolve": {"outcome": "completed"},
        "signal": {"type": "alliance_created", "body": '{"alliance_id": "a-1"}'},
    }.get(verb, {})
    before = saga(api, saga_id)["seq"]
    _, form = shown(api, saga_id, verb, **chosen)
    answer = done(api, saga_id, verb, {name: value for name, value in form.items() if name != lost})

    assert (answer.status_code, saga(api, saga_id)["seq"]) == (400, before)
    assert "nothing has been done" in answer.content.decode()
    assert done(api, saga_id, verb, form).status_code == 303


def test_an_act_of_somebody_else_between_the_look_and_the_act_is_noticed(api, monkeypatch):
    saga_id = standing(api, "commandes", "parked")
    _, form = shown(api, saga_id, "resolve", outcome="completed")
    real = Operations.act

    def raced(operations, *given):
        monkeypatch.setattr(Operations, "act", real)
        api.post(f"/api/sagas/transactions/{saga_id}/pause/", {"reason": "somebody else"})
        api.post(f"/api/sagas/transactions/{saga_id}/retry/", {"reason": "somebody else"})
        return real(operations, *given)

    monkeypatch.setattr(Operations, "act", raced)
    answer = done(api, saga_id, "resolve", form)

    assert answer.status_code == 400
    assert saga(api, saga_id)["status"] == "COMPENSATING"
    assert [event["type"] for event in events(api, saga_id)][-1] != "saga_resolved"


def test_what_is_only_to_be_previewed_is_not_done_and_does_not_stand_in_the_address(api):
    saga_id = standing(api, "partner_creation", "sent")
    before = saga(api, saga_id)["seq"]
    chosen = {"type": "alliance_created", "body": '{"alliance_id": "' + "x" * 5000 + '"}', "reason": "not yet"}
    answer = done(api, saga_id, "signal", {**chosen, "preview": "yes"})

    assert (answer.status_code, saga(api, saga_id)["seq"]) == (200, before)
    assert 'name="preview"' in answer.content.decode()
    assert done(api, saga_id, "signal", {**chosen, **hidden(answer.content.decode())}).status_code == 303
