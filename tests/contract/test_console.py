"""The console: who may open which page, what a page says to the browser, and the list with its live part."""

import json
import re
from datetime import timedelta
from html import unescape

import api_support
import pytest
from api_support import ORDER, START, UNKNOWN_ID
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db.models import F
from django.test import Client
from django.utils import translation

from domain.outcomes import Rejected
from domain.workflows.commandes import COMMANDES
from infrastructure import logins
from infrastructure.models import LoginAttemptRow, SagaRow
from interfaces.console import access, live, urls
from saga_service.configuration import ApiKey

api = api_support.api

OPEN = {"login/", "logout/", "language/"}
ACTS = {"bulk/<uuid:bulk_id>/cancel/"}
"""Answers to POST only."""
PAGES = sorted(f"/console/{route.pattern}" for route in urls.urlpatterns if str(route.pattern) not in OPEN | ACTS)
ADDRESSES = {"uuid:saga_id": UNKNOWN_ID, "uuid:bulk_id": UNKNOWN_ID, "slug:name": "commandes", "slug:verb": "retry"}
NUMBERS = {"int:version": "1", "slug:group": "0" * 12, "slug:step": "x"}


def address(route):
    return re.sub(r"<([^>]*)>", lambda found: {**ADDRESSES, **NUMBERS}[found[1]], route)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    monkeypatch.setattr(live, "LONGEST_REST", 0.0)  # on a busy machine a drawing may take long
    access._remembered.clear()
    live._drawn.clear()
    live._pulse._until = -1.0


@pytest.fixture
def guarded(api, settings):
    """As with DEBUG off."""
    keys = tuple(ApiKey(f"{role}-tool", f"saga-{role}", f"key-of-the-{role}-000") for role in ("client", "reader"))
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "DEBUG": False, "API_KEYS": keys}
    return api


def member(*groups, **more):
    user = User.objects.create_user("anna", password="correct horse battery", **more)
    for name in groups:
        user.groups.add(Group.objects.create(name=name))
    client = Client()
    client.force_login(user)
    return client


def polled(client, page, path="/console/"):
    """The live part that this page would ask for now."""
    found = re.search(r'id="live" hx-get="([^"]*)"', page.content.decode())
    return client.get(unescape(found[1]), headers={"HX-Request": "true"})


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_without_a_login(guarded, path):
    answer = Client().get(address(path))

    assert (answer.status_code, answer.headers["Location"]) == (302, f"/console/login/?next={address(path)}")


@pytest.mark.parametrize("path", sorted(ACTS))
def test_nobody_acts_without_a_login_or_a_form_of_ours(guarded, path):
    assert Client().post(f"/console/{address(path)}").status_code == 302
    assert Client(enforce_csrf_checks=True).post(f"/console/{address(path)}").status_code == 403
    assert Client().get(f"/console/{address(path)}").status_code == 405


def test_a_page_gives_a_question_up_after_a_while_so_that_it_can_say_that_nobody_answers(api):
    page = api.http.get("/console/").content.decode()

    given = json.loads(unescape(re.search(r"<meta name=\"htmx-config\" content='([^']*)'", page)[1]))
    assert 0 < given["timeout"] <= 10_000


def test_a_part_of_a_page_sends_the_browser_to_the_login(guarded):
    answer = Client().get("/console/?live=x", headers={"HX-Request": "true"})

    assert (answer.status_code, answer.headers["HX-Refresh"], answer.content) == (401, "true", b"")


@pytest.mark.parametrize("groups", [[], ["saga-client"], ["other"]])
def test_a_login_without_a_role_sees_nothing(guarded, groups):
    answer = member(*groups).get("/console/")

    assert answer.status_code == 403
    assert "saga-reader" in answer.content.decode()


@pytest.mark.parametrize(
    ("groups", "more"),
    [
        (["saga-reader"], {}),
        (["saga-operator"], {}),
        (["saga-admin"], {}),
        ([], {"is_staff": True}),
        ([], {"is_staff": True, "is_superuser": True}),
    ],
)
def test_a_role_by_group_or_at_admin_opens_the_list(guarded, groups, more):
    answer = member(*groups, **more).get("/console/")

    assert answer.status_code == 200
    assert "anna" in answer.content.decode()


def test_a_key_opens_the_list_and_a_wrong_one_does_not(guarded):
    assert Client().get("/console/", headers={"X-API-Key": "key-of-the-reader-000"}).status_code == 200
    assert Client().get("/console/", headers={"X-API-Key": "key-of-the-client-000"}).status_code == 403
    assert Client().get("/console/", headers={"X-API-Key": "wrong"}).status_code == 401


def test_a_password_opens_it_and_logging_out_ends_it_for_open_pages_too(guarded):
    member("saga-reader")
    browser = Client()

    wrong = browser.post("/console/login/", {"username": "anna", "password": "wrong"})
    right = browser.post("/console/login/?next=/console/", {"username": "anna", "password": "correct horse battery"})
    page = browser.get("/console/")
    assert (wrong.status_code, right.status_code, page.status_code) == (200, 302, 200)
    assert polled(browser, page).status_code in {200, 204}

    cookie = browser.cookies["sessionid"].value
    browser.post("/console/logout/")
    browser.cookies["sessionid"] = cookie
    assert polled(browser, page).status_code == 401


@pytest.mark.parametrize("lost", ["session", "role", "account"])
def test_nobody_acts_with_what_they_have_lost_though_their_open_page_is_still_drawn(guarded, lost):
    saga_id = guarded.post(
        START, {"workflow": COMMANDES.name, "input": ORDER}, X_API_Key="key-of-the-client-000", Prefer="respond-async"
    ).json()["id"]
    browser = member("saga-operator")
    page = browser.get(f"/console/sagas/{saga_id}/pause/").content.decode()
    user, before = User.objects.get(), SagaRow.objects.get().seq
    if lost == "session":
        Session.objects.all().delete()
    elif lost == "role":
        user.groups.clear()
    else:
        User.objects.update(is_active=False)

    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    answer = browser.post(f"/console/sagas/{saga_id}/pause/?live=x", {**fields, "reason": "mine"})

    assert answer.status_code == (403 if lost == "role" else 302)
    assert SagaRow.objects.get().seq == before


def tries(password, path="/console/login/", name="anna", address="192.0.2.1"):
    return Client().post(path, {"username": name, "password": password}, REMOTE_ADDR=address)


@pytest.mark.parametrize("path", ["/console/login/", "/admin/login/"])
def test_after_ten_wrong_passwords_not_even_the_right_one_is_taken_for_ten_minutes(guarded, path):
    member("saga-reader", is_staff=True)
    for _ in range(10):
        assert tries("wrong", path).status_code == 200
    locked = tries("correct horse battery", path)
    assert "sessionid" not in locked.cookies
    if path == "/console/login/":
        assert locked.status_code == 429
        assert "Tried too often" in locked.content.decode()
    assert "sessionid" not in tries("correct horse battery", "/console/login/", name="ANNA").cookies

    assert "sessionid" in tries("correct horse battery", path, address="192.0.2.2").cookies, "another address"
    LoginAttemptRow.objects.update(at=F("at") - timedelta(minutes=10))
    assert "sessionid" in tries("correct horse battery", path).cookies
    assert LoginAttemptRow.objects.count() == 0, "what has become of no use is deleted"


def test_while_other_passwords_are_looked_at_one_more_is_told_to_come_back(guarded, monkeypatch):
    member("saga-reader")
    monkeypatch.setattr(logins, "PATIENCE", 0)
    for _ in range(logins.AT_ONCE):
        logins._turns.acquire()
    try:
        busy = tries("correct horse battery")
    finally:
        for _ in range(logins.AT_ONCE):
            logins._turns.release()

    assert busy.status_code == 429
    assert "Too many log in at this moment" in busy.content.decode()
    assert LoginAttemptRow.objects.count() == 0, "it is no attempt"
    assert "sessionid" in tries("correct horse battery").cookies


def test_a_right_password_begins_the_count_anew_and_no_name_is_stored(guarded):
    member("saga-reader")
    for _ in range(3):
        for _ in range(9):
            tries("wrong")
        assert not LoginAttemptRow.objects.filter(key__icontains="anna").exists()
        assert "sessionid" in tries("correct horse battery").cookies


@pytest.mark.parametrize("path", ["/console/x/", "/console/sagas/x/", "/console/workflows/commandes/1/x"])
def test_an_address_of_the_console_that_there_is_not_is_answered_with_a_page_in_its_language(api, path):
    for method in ("get", "post"):
        answer = getattr(Client(), method)(path, headers={"Accept-Language": "fr"})

        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert (answer.headers["Content-Language"], "/console/" in answer.content.decode()) == ("fr", True)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/console/trouble", "/console/workflows/commandes"])
def test_an_address_of_the_console_without_its_final_slash_leads_to_the_page(api, path):
    assert api.http.get(path).headers["Location"] == f"{path}/"


PUBLIC = [
    "/console/",
    "/console/x/",
    "/admin/login/",
    "/saga/test",
    "/swagger/",
    "/health",
    "/static/console/theme.js",
]


@pytest.mark.parametrize("path", PUBLIC)
def test_no_answer_is_taken_for_what_it_is_not_or_tells_other_sites_where_its_reader_was(api, path):
    answer = api.http.get(path)
    answer.close()

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"


def test_a_form_from_another_site_is_refused(guarded):
    browser = Client(enforce_csrf_checks=True)

    for path in ("/console/login/", "/console/logout/", "/console/language/"):
        assert browser.post(path, {}).status_code == 403, path


@pytest.mark.parametrize("path", [*PAGES, "/console/login/"])
def test_a_page_lets_nothing_of_another_host_in_and_is_framed_by_nobody(api, path):
    answer = api.http.get(address(path))

    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "no-store" in answer.headers["Cache-Control"]
    assert not re.search(rb'(src|href|action)="(https?:)?//', answer.content)
    assert b" style=" not in answer.content
    assert not re.search(rb"<script(?![^>]*(src=|type=\"application/json\"))", answer.content)


def test_the_language_is_the_browsers_or_the_one_chosen(api):
    browser = Client()
    browser.get("/console/", headers={"Accept-Language": "vi"})

    assert browser.get("/console/", headers={"Accept-Language": "vi"}).headers["Content-Language"] == "vi"
    answer = browser.post("/console/language/", {"language": "fr", "next": "/console/?status=STUCK"})
    assert answer.headers["Location"] == "/console/?status=STUCK"
    assert browser.get("/console/", headers={"Accept-Language": "vi"}).headers["Content-Language"] == "fr"
    elsewhere = browser.post("/console/language/", {"language": "fr", "next": "https://evil.example/"})
    assert elsewhere.headers["Location"].startswith("/")


def test_the_language_of_a_page_is_not_that_of_the_next_answer_of_the_api(api):
    api.http.get("/console/", headers={"Accept-Language": "fr"})

    assert translation.get_language() == "en"


def test_the_list_has_the_sagas_newest_first_and_filters_that_are_the_address(api):
    done = api.post(START, {"workflow": COMMANDES.name, "input": ORDER, "correlation_id": "till-7"}).json()["id"]
    api.participants.answers["verification_stock"] = Rejected("nothing left")
    refused = api.post(START, {"workflow": COMMANDES.name, "input": ORDER}).json()["id"]

    def shown(query):
        return re.findall(r'href="/console/sagas/([0-9a-f-]{36})/"', api.http.get(f"/console/{query}").content.decode())

    assert shown("") == [refused, done]
    assert shown("?status=COMPLETED") == [done]
    assert shown("?q=till-7") == [done]
    assert shown(f"?q={refused}") == [refused]
    assert shown("?workflow=cashout_flow") == []
    assert shown("?limit=1") == [refused]
    assert shown(f"?limit=1&cursor={refused}") == [done]


@pytest.mark.parametrize("query", ["?status=NONE", "?cursor=x", "?created_after=yesterday", "?nonsense=1"])
def test_a_wrong_address_is_told_as_it_is(api, query):
    page = api.http.get(f"/console/{query}")

    assert page.status_code == 200
    assert b'role="alert">' + query[1:].partition("=")[0].encode() in page.content


@pytest.mark.django_db(transaction=True)
def test_an_open_page_is_drawn_again_when_something_was_written_and_not_before(api):
    page = api.http.get("/console/")

    again = polled(api.http, page)
    assert (again.status_code, again.content) == (204, b"")

    saga_id = api.post(START, {"workflow": COMMANDES.name, "input": ORDER}).json()["id"]
    live._pulse._until = -1.0  # a second later
    moved = polled(api.http, page)
    assert moved.status_code == 200
    assert saga_id in moved.content.decode()
    assert moved.content.decode().startswith('<div id="live"')


def test_an_idle_viewer_asks_the_database_nothing(api, django_assert_num_queries):
    page = api.http.get("/console/")
    polled(api.http, page)

    with django_assert_num_queries(0):
        for _ in range(20):
            assert polled(api.http, page).status_code == 204
