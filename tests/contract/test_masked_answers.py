"""What a participant gave under a masked name is shown to nobody who reads a list, a group, a remedy or a terminal."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import api_support
import pytest
from api_support import ORDER, START
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from application.queries import SagaFilter
from domain.outcomes import Rejected, Succeeded
from domain.workflows.cashout import CASHOUT
from domain.workflows.commandes import COMMANDES
from infrastructure.definition_store import DefinitionStore
from interfaces.console import live
from interfaces.platform import platform
from interfaces.privacy import masked_events, masked_rows
from interfaces.tail import Tail
from interfaces.tail_view import Lines, Screen

api = api_support.api

SLIP = {"bet_slip_id": 123, "user_id": 456}
PERSONAL = replace(CASHOUT, name="of_persons", masked=("quote_id", "transaction_id"))
RESERVED = replace(COMMANDES, name="reserved_by", masked=("reservation_id",))
"""Workflows whose participants answer with what is masked."""
IBAN, TOLD = "FR76 3000 6000 0112", "account FR7630006000-0112 of mme.Durand@example.org is closed"
SECRETS = ("FR76", "Durand")


@pytest.fixture
def saga_id(api):
    """A saga that is parked for a reason which repeats what the wallet has answered before."""
    live._drawn.clear()
    return park(api)


def park(api):
    DefinitionStore([PERSONAL]).register()
    api.participants.answers |= {
        "cashout_quote": Succeeded({"quote_id": IBAN, "amount": 126.66}),
        "wallet_credit": Succeeded({"transaction_id": "Mme.Durand@example.org"}),
        "liability_update": Rejected(TOLD),
        "wallet_credit:undo": Rejected(TOLD),
    }
    return api.post(START, {"workflow": PERSONAL.name, "input": SLIP}).json()["id"]


def hides(text):
    assert "account ••• of ••• is closed" in text
    assert not any(secret.lower() in text.lower() for secret in SECRETS)


@pytest.mark.parametrize("path", ["/console/", "/console/trouble/", "/console/sagas/{}/"])
def test_a_page_does_not_show_it(api, saga_id, path):
    hides(api.http.get(path.format(saga_id)).content.decode())


def test_a_remedy_for_all_that_fail_alike_does_not_show_it(api, saga_id):
    [group] = platform().bulk.failures(10)
    hides(api.http.get(f"/console/trouble/{group.id}/retry/").content.decode())


@pytest.mark.parametrize("what", ["list", "show"])
def test_the_command_line_does_not_show_it(api, saga_id, what):
    out = io.StringIO()
    call_command("saga", what, *([] if what == "list" else [saga_id]), stdout=out)
    hides(out.getvalue())


@pytest.mark.parametrize("view", [Lines, lambda out, _: Screen(out, "all")])
def test_what_follows_all_sagas_does_not_show_it(api, saga_id, view, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    out = io.StringIO()
    with view(out, out) as shown:
        for rows in Tail(platform().queries, since=datetime.now(UTC) - timedelta(hours=1)).look():
            shown.events([row for row in rows if row["reason"] == TOLD])
    hides(out.getvalue())


def test_the_answer_of_an_item_is_hidden_before_its_step_is_done(api):
    """`steps.<step>` is there only when all items are done; what failed meanwhile may repeat an item's answer."""
    DefinitionStore([RESERVED]).register()
    told = Rejected("no room beside ANNA@example.org")
    gives = Succeeded({"reservation_id": "anna@example.org"})
    api.participants.answers["reservation_stock"] = lambda task: told if task.item else gives
    order = {**ORDER, "lignes": ORDER["lignes"] * 2}
    saga_id = api.post(START, {"workflow": RESERVED.name, "input": order}).json()["id"]
    page = api.http.get(f"/console/sagas/{saga_id}/").content.decode()

    assert "no room beside •••" in page
    assert "anna@example.org" not in page.lower()


def test_a_list_reads_the_answers_of_all_its_sagas_at_once(api):
    for _ in range(4):
        park(api)
    rows = platform().queries.sagas(SagaFilter(), 50)
    with CaptureQueriesContext(connection) as asked:
        masked_rows(rows)
    assert len(asked) == 1

    events = platform().queries.events_beyond({row["id"]: 0 for row in rows}, rows[0]["created_at"].replace(year=2000))
    with CaptureQueriesContext(connection) as asked:
        masked_events(events)
    assert len(asked) == 2
