"""The pages at /admin/: who may see them, what they show, and the verbs, which ask for a reason."""

import re
from uuid import UUID

import api_support
import pytest
from api_support import START, UNKNOWN_ID
from django.contrib.auth.models import Permission, User
from django.test import Client

from domain.outcomes import Rejected, Unavailable
from domain.workflows.cashout import CASHOUT
from interfaces.privacy import masked_rows

api = api_support.api

PARTNER = {"nombre": "Café Sol", "email": "sol@example.org", "telefono": "+34 600 000 000", "direccion": "c/ Mayor 1"}
SLIP = {"bet_slip_id": 123, "user_id": 456}
PAGES = [
    "/admin/",
    "/admin/sagas/",
    "/admin/steps/",
    "/admin/events/",
    "/admin/definitions/",
    f"/admin/definitions/cashout_flow/{CASHOUT.version}/",
]


@pytest.fixture
def browser(api):
    """A superuser's."""
    client = Client()
    client.force_login(User.objects.create_superuser("anna"))
    return client


@pytest.fixture
def reader(api):
    """A staff member's, who may read only."""
    client = Client()
    client.force_login(User.objects.create_user("bob", is_staff=True))
    return client


def start(api, **answers):
    api.participants.answers.update(answers)
    return api.post(START, {"workflow": CASHOUT.name, "input": SLIP}).json()["id"]


def act(browser, saga_id, verb="compensate", reason="ticket 7", **more):
    return browser.post("/admin/sagas/act/", {"saga": saga_id, "verb": verb, "reason": reason}, follow=True, **more)


def status(api, saga_id):
    return api.get(f"/api/sagas/transactions/{saga_id}/").json()["status"]


@pytest.mark.parametrize("path", [*PAGES, f"/admin/sagas/{UNKNOWN_ID}/", "/admin/auth/user/"])
def test_nobody_sees_a_page_without_a_login(api, path):
    for client in (Client(), Client(headers={"X-API-Key": "magasin-secret-key-2025"})):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/admin/login/?next={path}")


def test_somebody_who_is_not_staff_sees_no_page(api):
    client = Client()
    client.force_login(User.objects.create_user("eve"))
    assert client.get("/admin/sagas/").status_code == 302


@pytest.mark.parametrize("path", [*PAGES, "/admin/auth/user/"])
def test_a_page_is_shown_in_no_frame_and_cached_by_nobody(browser, api, path):
    start(api)
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["X-Frame-Options"]) == (200, "DENY")
    assert "no-store" in answer.headers["Cache-Control"]


def test_the_first_page_leads_to_the_others(browser):
    page = browser.get("/admin/").content.decode()
    assert all(f'href="/admin/{name}/"' in page for name in ("sagas", "steps", "events", "definitions", "auth/user"))


def test_the_sagas_are_listed_filtered_and_paged_by_key(browser, api):
    ids = [start(api) for _ in range(3)]
    failed = start(api, cashout_validation=Rejected("not yours"))

    def shown(query):
        page = browser.get(f"/admin/sagas/?{query}").content.decode()
        return [saga_id for saga_id in [failed, *reversed(ids)] if f"/admin/sagas/{saga_id}/" in page], page

    assert shown("")[0] == [failed, *reversed(ids)]
    assert shown("status=FAILED&workflow=cashout_flow")[0] == shown(f"q={failed}")[0] == [failed]
    first, page = shown("limit=2")
    assert first == [failed, ids[2]]
    assert f"?limit=2&amp;cursor={ids[2]}" in page
    assert shown(f"limit=2&cursor={ids[2]}")[0] == [ids[1], ids[0]]
    assert "must be one of RUNNING" in shown("status=DONE")[1]


def test_the_list_costs_the_same_whatever_is_on_it(browser, api, django_assert_max_num_queries):
    start(api)
    browser.get("/admin/sagas/")
    for _ in range(5):
        start(api)
    with django_assert_max_num_queries(7):
        browser.get("/admin/sagas/")


def test_a_saga_is_shown_with_its_history(browser, api):
    saga_id = start(api, liability_update=Rejected("<b>locked</b>"))
    page = browser.get(f"/admin/sagas/{saga_id}/").content.decode()
    for text in (
        "COMPENSATED",
        "wallet_credit",
        "undo_succeeded",
        "&lt;b&gt;locked&lt;/b&gt;",
        "&quot;bet_slip_id&quot;",
    ):
        assert text in page, text
    assert "<b>locked" not in page
    assert "undo_succeeded" in browser.get("/admin/events/").content.decode()
    assert browser.get(f"/admin/sagas/{UNKNOWN_ID}/").status_code == 404


def rows_of(page):
    """The table of steps: place, status, attempts, undo attempts, error."""
    table = page.partition("<th>Undo attempts</th>")[2].partition("</table>")[0]
    rows = (re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in table.split("<tr>")[1:])
    return [(*cells[-9:-5], cells[-1]) for cells in rows if len(cells) > 9]


def test_a_sagas_steps_are_shown_with_how_far_each_is(browser, api):
    saga_id = start(api, liability_update=Rejected("<b>locked</b>"))

    assert rows_of(browser.get(f"/admin/sagas/{saga_id}/").content.decode()) == [
        ("cashout_validation", "COMPLETED", "1", "0", ""),
        ("live_odds_fetch", "COMPLETED", "1", "0", ""),
        ("cashout_quote", "COMPLETED", "1", "0", ""),
        ("wallet_credit", "COMPENSATED", "1", "1", ""),
        ("liability_update", "FAILED", "1", "0", "&lt;b&gt;locked&lt;/b&gt;"),
        ("cashout_completion", "PENDING", "0", "0", ""),
    ]


def test_the_steps_of_all_sagas_are_listed_filtered_and_paged_with_their_sagas(browser, api):
    done = [start(api) for _ in range(2)]
    failed = start(api, cashout_validation=Rejected("not yours"))

    page = browser.get("/admin/steps/").content.decode()
    assert len(rows_of(page)) == 18
    page = browser.get("/admin/steps/?status=FAILED&workflow=cashout_flow").content.decode()
    assert [row[:2] for row in rows_of(page)][:2] == [("cashout_validation", "FAILED"), ("live_odds_fetch", "PENDING")]
    assert f"/admin/sagas/{failed}/" in page
    assert f"?limit=1&amp;cursor={failed}" in browser.get("/admin/steps/?limit=1").content.decode()
    assert len(rows_of(browser.get(f"/admin/steps/?limit=1&cursor={failed}").content.decode())) == 6
    assert done[0] not in page
    assert "must be one of RUNNING" in browser.get("/admin/steps/?status=DONE").content.decode()


def test_the_list_of_steps_costs_the_same_whatever_is_on_it(browser, api, django_assert_max_num_queries):
    for _ in range(6):
        start(api)
    browser.get("/admin/steps/")
    with django_assert_max_num_queries(6):
        browser.get("/admin/steps/")


def test_the_steps_of_an_order_have_a_row_an_item(browser, api):
    order = api.order().json()["saga_id"]

    assert ("reservation_stock[0]", "COMPLETED") in [
        row[:2] for row in rows_of(browser.get(f"/admin/sagas/{order}/").content.decode())
    ]


def test_personal_data_is_masked_on_the_pages_and_not_in_the_api(browser, api):
    api.participants.answers["create_partner"] = Rejected(f"{PARTNER['email']} is a partner already")
    asked = {"workflow": "partner_creation", "input": PARTNER}
    saga_id = api.post(START, asked).json()["id"]

    pages = [browser.get(path).content.decode() for path in ("/admin/sagas/", "/admin/events/")]
    pages.append(browser.get(f"/admin/sagas/{saga_id}/").content.decode())

    assert all("••• is a partner already" in page for page in pages)
    assert not any(PARTNER[name] in page for page in pages for name in ("email", "telefono"))
    assert PARTNER["nombre"] in pages[2]
    assert api.get(f"/api/sagas/transactions/{saga_id}/").json()["input"] == PARTNER


def test_of_a_saga_that_a_later_release_began_nothing_is_shown_that_it_might_mask(browser, api):
    api.participants.answers["create_partner"] = Rejected("anybody's")
    saga_id = api.post(START, {"workflow": "partner_creation", "input": PARTNER}).json()["id"]
    later = {"id": UUID(saga_id), "workflow": "partner_creation", "version": 99}
    [row] = masked_rows([{**later, "data": {"input": PARTNER}, "error": {"reason": "anybody's"}}])

    assert row["error"] == {"reason": "•••"}
    assert "data" not in row
    assert "anybody&#x27;s" in browser.get(f"/admin/sagas/{saga_id}/").content.decode()


def test_a_workflow_is_shown_with_its_steps(browser):
    assert "6: cashout_validation" in browser.get("/admin/definitions/").content.decode()
    assert "6 steps" in browser.get(f"/admin/definitions/cashout_flow/{CASHOUT.version}/").content.decode()
    assert browser.get("/admin/definitions/cashout_flow/99/").status_code == 404


def test_a_verb_is_done_in_the_users_name_with_the_reason(browser, api):
    saga_id = start(api)

    page = act(browser, saga_id).content.decode()

    assert "COMPENSATING, rolling_back" in page
    events = api.get(f"/api/sagas/transactions/{saga_id}/events/").json()["results"]
    (event,) = [each for each in events if each["type"] == "compensation_requested"]
    assert (event["actor"], event["reason"]) == ("anna", "ticket 7")


def test_a_verb_is_done_to_every_saga_chosen_and_says_how_each_went(browser, api):
    done = start(api)
    waiting = start(api, liability_update=Unavailable("busy", 8.0))

    page = act(browser, [waiting, done, UNKNOWN_ID, "x"], "pause").content.decode()

    assert f"{waiting}: PAUSED" in page
    assert f"{done}: A COMPLETED saga does nothing that could be paused" in page
    assert UNKNOWN_ID in page
    assert "is not a saga&#x27;s id" in page
    assert [status(api, saga_id) for saga_id in (waiting, done)] == ["PAUSED", "COMPLETED"]
    assert "COMPLETED, completed" in act(browser, waiting, "resolve-completed").content.decode()


def skip(browser, saga_id, place, output=""):
    asked = {"saga": saga_id, "verb": "skip", "reason": "ticket 7", "place": place, "output": output}
    return browser.post("/admin/sagas/act/", asked, follow=True)


def test_a_step_is_taken_as_done_by_hand(browser, api):
    saga_id = start(api, wallet_credit=Unavailable("busy", 8.0))
    page = browser.get(f"/admin/sagas/{saga_id}/").content.decode()
    assert '<option value="do:wallet_credit">do of wallet_credit</option>' in page

    page = skip(browser, saga_id, "do:wallet_credit", output='{"transaction_id": "t-9"}').content.decode()

    assert f"{saga_id}: RUNNING" in page
    (event,) = [
        event
        for event in api.get(f"/api/sagas/transactions/{saga_id}/events/").json()["results"]
        if event["type"] == "step_skipped"
    ]
    assert (event["step"], event["action"], event["actor"], event["reason"]) == (
        "wallet_credit",
        "do",
        "anna",
        "ticket 7",
    )
    assert event["output"] == {"transaction_id": "t-9"}


def test_an_undo_is_taken_as_done_by_hand(browser, api):
    refused = {"liability_update": Rejected("locked"), "wallet_credit:undo": Rejected("the money is spent")}
    saga_id = start(api, **refused)
    assert status(api, saga_id) == "STUCK"
    page = browser.get(f"/admin/sagas/{saga_id}/").content.decode()
    assert '<option value="undo:wallet_credit">undo of wallet_credit</option>' in page

    page = skip(browser, saga_id, "undo:wallet_credit").content.decode()

    assert f"{saga_id}: COMPENSATED" in page
    assert 'name="place"' not in page, "there is nothing left to skip"


@pytest.mark.parametrize(
    ("place", "output", "said"),
    [
        ("", "", "Choose what to do"),
        ("wallet_credit", "", "Choose what to do"),
        ("do:liability_update", "", "has not come to liability_update yet"),
        ("undo:wallet_credit", "", "there is no undo to skip"),
        ("do:wallet_credit", "{", "is not JSON"),
        ("do:wallet_credit", '"\\u0000"', "NUL"),
    ],
)
def test_what_cannot_be_skipped_is_said_and_nothing_is_done(browser, api, place, output, said):
    saga_id = start(api, wallet_credit=Unavailable("busy", 8.0))

    assert said in skip(browser, saga_id, place, output=output).content.decode()
    assert status(api, saga_id) == "RUNNING"


def test_who_may_only_read_cannot_skip(reader, api):
    saga_id = start(api, wallet_credit=Unavailable("busy", 8.0))

    assert 'name="place"' not in reader.get(f"/admin/sagas/{saga_id}/").content.decode()
    assert skip(reader, saga_id, "do:wallet_credit").status_code == 403
    assert status(api, saga_id) == "RUNNING"


@pytest.mark.parametrize(
    ("verb", "reason"),
    [("compensate", ""), ("compensate", "  "), ("compensate", "x" * 501), ("delete", "r"), ("", "r")],
)
def test_without_a_reason_or_a_verb_nothing_is_done(browser, api, verb, reason):
    saga_id = start(api)
    assert "errorlist" in (page := act(browser, saga_id, verb, reason).content.decode()) or "messagelist" in page
    assert status(api, saga_id) == "COMPLETED"


def test_who_may_only_read_is_offered_no_verb_and_refused(reader, api):
    saga_id = start(api)
    assert 'name="verb"' not in reader.get("/admin/sagas/").content.decode()
    assert 'name="verb"' not in reader.get(f"/admin/sagas/{saga_id}/").content.decode()
    assert act(reader, saga_id).status_code == 403
    assert status(api, saga_id) == "COMPLETED"


def test_who_was_given_the_permission_may_act(reader, api):
    User.objects.get(username="bob").user_permissions.add(Permission.objects.get(codename="change_sagarow"))
    saga_id = start(api)
    act(reader, saga_id)
    assert status(api, saga_id) == "COMPENSATING"


def test_a_verb_needs_the_pages_own_form(api):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("anna"))
    saga_id = start(api)
    assert act(client, saga_id).status_code == 403
    assert client.get("/admin/sagas/act/").status_code == 405
    assert status(api, saga_id) == "COMPLETED"


def test_the_api_knows_no_sessions(browser, api, django_assert_num_queries):
    saga_id = start(api)
    assert UUID(saga_id)
    with django_assert_num_queries(0):
        answer = browser.get("/health")
    assert not answer.cookies
    assert "Cookie" not in answer.headers.get("Vary", "")


def test_an_address_that_is_none_is_not_found_and_one_without_its_slash_leads_on(browser):
    assert browser.get("/admin/nothing/").status_code == 404
    assert browser.get("/admin/sagas").headers["Location"] == "/admin/sagas/"
