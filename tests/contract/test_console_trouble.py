"""Trouble in the console: what is parked and owed, groups of failures, and remedies for whole groups."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import api_support
import pytest
from api_support import ORDER, START, UNKNOWN_ID
from django.test import Client

from application.bulk import BulkRunner
from domain.outcomes import Rejected
from domain.workflows.cashout import CASHOUT
from infrastructure.models import BulkRow, OutboxRow, SagaRow
from interfaces.console import live
from interfaces.console import trouble as console_trouble
from interfaces.platform import platform
from saga_service.configuration import ApiKey

api = api_support.api
SLIP = {"bet_slip_id": 123, "user_id": 456}


def parked(api, times=1):
    """Cash-outs whose undo was refused."""
    api.participants.answers |= {"liability_update": Rejected("limit 7"), "wallet_credit:undo": Rejected("closed 'x'")}
    return [api.post(START, {"workflow": CASHOUT.name, "input": SLIP}).json()["id"] for _ in range(times)]


def page(api, path="/console/trouble/"):
    live._drawn.clear()
    console_trouble._groups.forget()
    return api.http.get(path).content.decode()


def group_of(api):
    return re.search(r"/console/trouble/([\w-]+)/retry/", page(api))[1]


def remedied(api, group, verb="retry", **fields):
    given = {"reason": "reopened", "per_second": "1000", "seen": "9", **fields}
    return api.http.post(f"/console/trouble/{group}/{verb}/", given)


def run(api):
    runner = BulkRunner(platform().operations, platform().bulk, "w-1", lambda _: False)
    while runner.run_one():
        pass


def test_without_trouble_the_page_says_so(api):
    shown = page(api)

    assert "Nothing is parked, nothing fails, and no undo is owed." in shown


def test_it_shows_what_is_owed_to_whom_the_groups_and_the_parked_sagas(api):
    ids = parked(api, 3)
    shown = page(api)

    assert re.search(r"<strong>wallet</strong>.*?>3</td>", shown, re.DOTALL)
    assert shown.count('<tr id="g') == 1, "their reasons differ in numbers only"
    assert "3 parked" in shown
    assert all(f'id="p{saga_id}"' in shown for saga_id in ids)
    assert "1 × wallet" in shown
    assert {f">…{saga_id[-8:]}</a>" in shown for saga_id in ids} == {True}
    assert ("Try all again…" in shown, "Undo all…" in shown) == (True, False), "it is their undo that fails"


def test_the_sagas_that_are_parked_for_longest_are_first(api, monkeypatch):
    ids = parked(api, 3)
    SagaRow.objects.filter(id=ids[1]).update(updated_at=datetime(2026, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(console_trouble, "MOST_PARKED", 2)
    shown = page(api)

    assert re.findall(r'id="p([0-9a-f-]+)"', shown) == [ids[1], ids[0]]
    assert "All parked sagas" in shown


def test_it_shows_messages_that_were_not_sent_with_their_remedy_also_where_nothing_else_is_wrong(api):
    saga_id = api.post(START, {"workflow": "commandes", "input": ORDER}).json()["id"]
    facts = {"saga_id": saga_id, "seq": 1, "topic": "commands", "payload": {}, "created_at": api.clock.now()}
    row = OutboxRow.objects.create(**facts, refused="too large")

    shown = page(api)

    assert "Nothing is parked" not in shown
    assert f"manage.py saga_outbox retry {row.id}" in shown and "too large" in shown and saga_id in shown
    assert 'class="banner bad" id="explanation"' in page(api, f"/console/sagas/{saga_id}/")


def test_a_remedy_of_no_saga_is_shown_as_any_other(api):
    parked(api, 1)
    path = remedied(api, group_of(api)).headers["Location"]
    BulkRow.objects.update(total=0)

    assert "of 0 saga" in page(api, path)
    assert api.http.get("/console/trouble/").status_code == 200


def test_the_questions_do_not_grow_with_the_trouble(api, django_assert_max_num_queries):
    parked(api, 6)
    live._drawn.clear()
    with django_assert_max_num_queries(10):
        api.http.get("/console/trouble/")


def test_a_group_is_remedied_with_a_reason_and_its_progress_is_shown(api):
    ids = parked(api, 2)
    group = group_of(api)
    form = api.http.get(f"/console/trouble/{group}/retry/").content.decode()
    assert "2, of which 2 parked" in form

    answer = remedied(api, group)
    assert answer.status_code == 303
    path = answer.headers["Location"]
    assert "0 of 2 sagas" in page(api, path)
    assert "Remedies under way" in page(api)

    run(api)

    assert "2 of 2 sagas" in page(api, path)
    events = api.get(f"/api/sagas/transactions/{ids[0]}/events/?type=retry_requested").json()["results"]
    assert events[0]["actor"] == "development"
    assert events[0]["reason"].startswith("reopened (bulk ")
    assert "Remedies that have ended" in page(api)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": " "}, "1 to 500 characters"),
        ({"reason": "x" * 501}, "1 to 500 characters"),
        ({"per_second": "0"}, "A number from 0.1 to 1000"),
        ({"per_second": "many"}, "A number from 0.1 to 1000"),
        ({"per_second": "nan"}, "A number from 0.1 to 1000"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_begins(api, fields, said):
    parked(api)
    answer = remedied(api, group_of(api), **fields)

    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert platform().bulk.recent(10) == []


@pytest.mark.parametrize("path", ["/console/trouble/0123abcd/retry/", "/console/trouble/x/delete/"])
def test_a_group_or_a_verb_that_there_is_not_is_not_found(api, path):
    parked(api)

    assert api.http.get(path).status_code == 404
    assert api.http.post(path, {"reason": "x", "per_second": "1"}).status_code == 404


def test_the_same_remedy_twice_is_one(api):
    parked(api, 2)
    group = group_of(api)
    first, second = remedied(api, group), remedied(api, group)

    assert first.headers["Location"] == second.headers["Location"]
    assert "The same is being done already" in page(api, second.headers["Location"])


def test_a_remedy_is_stopped(api):
    parked(api, 2)
    path = remedied(api, group_of(api)).headers["Location"]
    assert "Stop: do it to no more sagas" in page(api, path)

    assert api.http.post(f"{path}cancel/").status_code == 303
    for shown in (page(api, path), page(api)):
        assert "stopped by development" in shown
    assert "Stop:" not in page(api, path)
    assert platform().bulk.load(UUID(path.split("/")[3])).cancelled


def test_how_far_a_remedy_has_come_is_said_by_tenths_and_how_it_ended(api):
    parked(api, 3)
    path = remedied(api, group_of(api)).headers["Location"]

    def said():
        return re.search(r'id="said" role="status">(.*?)</p>', page(api, path))[1]

    assert said() == "0 % have had their turn"
    runner = BulkRunner(platform().operations, platform().bulk, "w-1", lambda _: True)
    runner.run_one()
    assert said() == "30 % have had their turn"
    api.clock.ahead += timedelta(minutes=1)
    run(api)
    assert said() == "Ended: 3 done, 0 not possible"


@pytest.mark.parametrize("seen", ["2", "", "x", "9" * 5000])
def test_a_group_that_has_grown_since_it_was_shown_is_shown_again_and_nothing_begins(api, seen):
    parked(api, 2)
    group = group_of(api)
    form = api.http.get(f"/console/trouble/{group}/retry/").content.decode()
    assert 'name="seen" value="2"' in form
    parked(api)

    answer = remedied(api, group, seen=seen)

    assert answer.status_code == 400
    assert "than you were shown: 3." in answer.content.decode()
    assert platform().bulk.recent(10) == []
    assert remedied(api, group, seen=re.search(r'name="seen" value="(\d+)"', answer.content.decode())[1])


def test_an_open_page_offers_to_stop_a_remedy_only_until_it_has_ended(api):
    parked(api, 2)
    path = remedied(api, group_of(api)).headers["Location"]
    assert "Stop:" in page(api, f"{path}?live=x")

    run(api)
    assert "Stop:" not in page(api, f"{path}?live=x")


def test_a_remedy_that_there_is_not_is_not_found(api):
    assert api.http.get(f"/console/bulk/{UNKNOWN_ID}/").status_code == 404
    assert api.http.post(f"/console/bulk/{UNKNOWN_ID}/cancel/").status_code == 404
    assert api.http.get(f"/console/bulk/{UNKNOWN_ID}/cancel/").status_code == 405


def test_a_reader_sees_the_trouble_and_remedies_nothing(api, settings):
    parked(api)
    group = group_of(api)
    keys = (ApiKey("viewer", "saga-reader", "key-of-the-reader-000"),)
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "DEBUG": False, "API_KEYS": keys}
    reader = Client(headers={"X-API-Key": "key-of-the-reader-000"})

    shown = reader.get("/console/trouble/").content.decode()
    assert "wallet" in shown
    assert "/retry/" not in shown
    assert reader.post(f"/console/trouble/{group}/retry/", {"reason": "x", "per_second": "1"}).status_code == 403
