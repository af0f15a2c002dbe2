"""One saga in the console: what is shown of it, and the acts, each previewed, with a reason, on what was looked at."""

import re
from datetime import timedelta

import api_support
import pytest
from api_support import ORDER, START, UNKNOWN_ID
from django.test import Client

from domain.outcomes import Rejected, Unavailable
from domain.workflows.booking import BOOKING
from domain.workflows.cashout import CASHOUT
from domain.workflows.commandes import COMMANDES
from interfaces.console import live
from interfaces.examples import EXAMPLE_INPUTS
from saga_service.configuration import ApiKey

api = api_support.api
SLIP = {"bet_slip_id": 123, "user_id": 456}


def start(api, workflow=COMMANDES.name, given=None, **answers):
    api.participants.answers.update(answers)
    return api.post(START, {"workflow": workflow, "input": given or ORDER}).json()["id"]


def parked(api):
    """A cash-out whose undo was refused: it is parked."""
    failing = {"liability_update": Rejected("limit"), "wallet_credit:undo": Rejected("account closed")}
    return start(api, CASHOUT.name, SLIP, **failing)


def page_of(api, saga_id):
    live._drawn.clear()
    return api.http.get(f"/console/sagas/{saga_id}/").content.decode()


def act(api, saga_id, verb, **fields):
    return api.http.post(f"/console/sagas/{saga_id}/{verb}/", fields)


def preview(api, saga_id, verb, **fields):
    return api.http.get(f"/console/sagas/{saga_id}/{verb}/", fields).content.decode()


def seen(page):
    """What a form brings back of its preview."""
    return dict(re.findall(r'type="hidden" name="(seen|chosen)" value="([^"]*)"', page))


def saga(api, saga_id):
    return api.get(f"/api/sagas/transactions/{saga_id}/").json()


def last_event(api, saga_id, kind):
    events = api.get(f"/api/sagas/transactions/{saga_id}/events/?limit=200").json()["results"]
    return [event for event in events if event["type"] == kind][-1]


def test_a_saga_that_there_is_not_is_told_so(api):
    answer = api.http.get(f"/console/sagas/{UNKNOWN_ID}/")

    assert answer.status_code == 404
    assert UNKNOWN_ID in answer.content.decode()


def test_the_page_tells_why_it_stands_where_it_does_and_what_went_out(api):
    saga_id = start(api, creation_commande=Rejected("client bloqué"))
    page = page_of(api, saga_id)

    assert "everything undone. It turned back at creation_commande, rejected: client bloqué." in page
    asked = [line.split("/")[0] for line in re.findall(r"<pre>((?:GET|POST) \S+)", page)]
    assert asked == ["GET inventaire", "GET catalogue", "POST inventaire", "POST commandes", "POST inventaire"]
    assert page.count('class="bar"') == 5
    assert ORDER["client_id"] in page


def test_what_may_change_while_somebody_listens_is_said_and_has_no_times_that_go_on_by_themselves(api):
    spoken = re.findall(r'<(\w+)[^>]* role="status"[^>]*>(.*?)</\1>', page_of(api, parked(api)), re.DOTALL)

    assert ["STUCK" in spoken[0][1], "Parked: " in spoken[1][1]] == [True, True]
    assert not any("<time" in text for _, text in spoken)


def test_each_attempt_has_its_request_written_down_again(api):
    saga_id = start(api, information_produit=Unavailable("away"))
    page = page_of(api, saga_id)

    assert page.count("GET catalogue/") == 2, "two attempts, and each shows its request"
    assert "attempt 2" in page


def test_personal_data_is_not_shown(api):
    page = page_of(api, start(api, BOOKING.name, EXAMPLE_INPUTS[BOOKING.name]))

    assert "flight_id" in page
    assert "•••" in page
    assert not any(name in page for name in ("John", "Doe"))


def test_only_what_can_be_done_now_has_a_button_and_the_rest_its_reason(api):
    page = page_of(api, start(api))
    buttons = set(re.findall(r'/console/sagas/[^/]+/(\w+)/"', page))
    assert buttons == {"compensate"}
    assert "A COMPLETED saga has nothing to retry" in page

    stuck = page_of(api, parked(api))
    assert set(re.findall(r'/console/sagas/[^/]+/(\w+)/"', stuck)) == {"retry", "skip", "resolve"}


def test_a_reader_has_no_buttons_and_may_not_act(api, settings):
    saga_id = start(api)
    keys = (ApiKey("viewer", "saga-reader", "key-of-the-reader-000"),)
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "DEBUG": False, "API_KEYS": keys}
    reader = Client(headers={"X-API-Key": "key-of-the-reader-000"})

    assert f"/console/sagas/{saga_id}/compensate/" not in reader.get(f"/console/sagas/{saga_id}/").content.decode()
    assert reader.get(f"/console/sagas/{saga_id}/compensate/").status_code == 403
    assert reader.post(f"/console/sagas/{saga_id}/compensate/", {"reason": "x"}).status_code == 403


def test_an_act_is_previewed_then_done_with_its_reason_and_its_actor(api):
    saga_id = parked(api)
    shown = preview(api, saga_id, "retry")
    assert "COMPENSATING" in shown
    assert "wallet_credit" in shown
    assert saga(api, saga_id)["status"] == "STUCK", "a preview changes nothing"

    del api.participants.answers["wallet_credit:undo"]
    answer = act(api, saga_id, "retry", reason="account reopened", **seen(shown))

    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console/sagas/{saga_id}/")
    event = last_event(api, saga_id, "retry_requested")
    assert (event["actor"], event["reason"]) == ("development", "account reopened")
    assert "Try again now" in page_of(api, saga_id), "the next page says what was done"


def test_a_call_without_a_body_is_previewed_too(api):
    saga_id = start(api, information_produit=Unavailable("busy", retry_after=3.0))

    assert "GET catalogue/" in preview(api, saga_id, "retry")


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, "a\0b"])
def test_without_a_reason_nothing_is_done(api, reason):
    saga_id = parked(api)
    answer = act(api, saga_id, "retry", reason=reason, **seen(preview(api, saga_id, "retry")))

    assert answer.status_code == 400
    assert "1 to 500 characters" in answer.content.decode()
    assert saga(api, saga_id)["status"] == "STUCK"


def test_on_a_saga_that_moved_since_the_preview_nothing_is_done(api):
    saga_id = parked(api)
    before = seen(preview(api, saga_id, "resolve", outcome="compensated"))
    api.post(f"/api/sagas/transactions/{saga_id}/retry/", {"reason": "somebody else"})

    answer = act(api, saga_id, "resolve", reason="done by hand", outcome="compensated", **before)

    assert answer.status_code == 400
    assert saga(api, saga_id)["status"] != "COMPENSATED"


def test_what_cannot_be_done_is_refused_in_words(api):
    saga_id = start(api)
    answer = act(api, saga_id, "retry", reason="why not")

    assert answer.status_code == 400
    assert "A COMPLETED saga has nothing to retry" in answer.content.decode()


@pytest.mark.parametrize("verb", ["nonsense", "delete"])
def test_an_act_that_there_is_not_is_not_found(api, verb):
    assert api.http.get(f"/console/sagas/{start(api)}/{verb}/").status_code == 404


def test_an_undo_is_taken_as_done_by_hand(api):
    saga_id = parked(api)
    form = preview(api, saga_id, "skip")
    assert 'value="undo:wallet_credit"' in form
    shown = preview(api, saga_id, "skip", place="undo:wallet_credit")
    assert 'data-status="COMPENSATED"' in shown
    assert "No call goes out" in shown

    answer = act(api, saga_id, "skip", place="undo:wallet_credit", reason="refunded", **seen(shown))

    assert answer.status_code == 303
    assert last_event(api, saga_id, "step_skipped")["step"] == "wallet_credit"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"place": "x"}, "Choose one of the steps"),
        ({"place": "do:wallet_credit", "output": "{"}, "is not JSON"),
        ({"place": "do:nowhere"}, "There is no step"),
        ({}, "Choose one"),
    ],
)
def test_a_wrong_field_of_skip_is_named(api, fields, said):
    saga_id = parked(api)
    answer = act(api, saga_id, "skip", reason="by hand", **fields)

    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert saga(api, saga_id)["status"] == "STUCK"


def test_it_is_declared_settled_one_way_or_the_other(api):
    saga_id = parked(api)
    assert act(api, saga_id, "resolve", reason="x", outcome="nonsense").status_code == 400
    assert act(api, saga_id, "resolve", reason="x").status_code == 400
    shown = preview(api, saga_id, "resolve", outcome="compensated")

    assert act(api, saga_id, "resolve", reason="paid back", outcome="compensated", **seen(shown)).status_code == 303
    assert saga(api, saga_id)["status"] == "COMPENSATED"
    assert "Declared COMPENSATED by development" in page_of(api, saga_id)


def test_a_saga_that_waits_is_drawn_again_when_it_is_late(api, monkeypatch):
    saga_id = start(api, information_produit=Unavailable("away", retry_after=3.0))
    api.clock.ahead += timedelta(hours=1)
    page = page_of(api, saga_id)

    assert "due since" in page
