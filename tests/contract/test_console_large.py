"""A saga of two hundred lines in the console: its page is bounded, and what it leaves out is a page away."""

import re
from uuid import UUID

import api_support
import pytest
from api_support import ORDER, START, UNKNOWN_ID

from domain.entities import Saga
from domain.outcomes import Rejected
from infrastructure.saga_store import _execute
from interfaces.console import live
from interfaces.console import saga as console_saga
from interfaces.platform import engine

api = api_support.api
LINES = 200


@pytest.fixture
def saga_id(api):
    """An order of many lines, of which all are undone."""
    live._drawn.clear()
    api.participants.answers["creation_commande"] = Rejected("no")
    order = {**ORDER, "lignes": ORDER["lignes"] * LINES}
    return api.post(START, {"workflow": "commandes", "input": order}).json()["id"]


def page(api, saga_id, rest=""):
    answer = api.http.get(f"/console/sagas/{saga_id}/{rest}")
    assert answer.status_code == 200
    return answer.content.decode()


def events(text):
    return [int(seq) for seq in re.findall(r'<tr id="e(\d+)"', text)]


def test_its_page_is_bounded_and_says_what_it_leaves_out(api, saga_id):
    shown = page(api, saga_id)
    whole = api.get(f"/api/sagas/transactions/{saga_id}/").json()["seq"]

    assert whole > 5 * LINES
    assert len(shown.encode()) < 200_000
    assert events(shown) == list(range(whole - console_saga.MOST_EVENTS + 1, whole + 1))
    assert shown.count("<details id=") == console_saga.MOST_ATTEMPTS
    assert f"{whole - console_saga.MOST_EVENTS} events came before these" in shown
    assert f"and {LINES - 10} more" in shown
    assert f'href="/console/sagas/{saga_id}/events/"' in shown


def test_all_events_are_read_page_by_page_with_the_calls_among_them(api, saga_id):
    whole = api.get(f"/api/sagas/transactions/{saga_id}/").json()["seq"]
    read, calls, path = [], 0, "events/"
    while path:
        shown = page(api, saga_id, path)
        read += events(shown)
        calls += shown.count("<details id=")
        following = re.search(r'rel="next" href="(\?after=\d+)"', shown)
        path = following and f"events/{following[1]}"

    assert read == list(range(1, whole + 1))
    assert calls == len(api.participants.calls)


@pytest.mark.parametrize("after", ["x", "-1", "9999999999", "1.5", "99999"])
def test_a_place_in_the_history_that_there_is_not_is_no_error(api, saga_id, after):
    page(api, saga_id, f"events/?after={after}")


def test_the_events_of_a_saga_that_there_is_not_are_not_found(api):
    assert api.http.get(f"/console/sagas/{UNKNOWN_ID}/events/").status_code == 404


def test_its_history_is_folded_once_for_a_page(api, saga_id, monkeypatch):
    folds, apply = [], Saga.apply

    def counted(self, event):
        folds.append(event.seq)
        apply(self, event)

    monkeypatch.setattr(Saga, "apply", counted)
    live._drawn.clear()
    page(api, saga_id)

    assert folds.count(1) == 1


def test_its_input_is_read_once_and_not_with_every_event(api, saga_id):
    rows = _execute("load", {"ids": [UUID(saga_id)]})
    assert [row[5] is not None for row in rows] == [True] + [False] * (len(rows) - 1)
    assert len(engine().store.load(rows[0][0]).origin.input["lignes"]) == LINES
