"""The console's statistics: what it shows is what the sagas say, as figures, as charts and as a table."""

import re
from datetime import timedelta
from html import unescape
from xml.etree import ElementTree as ET

import api_support
import pytest
from api_support import ORDER, START
from django.db import connection
from django.test.utils import CaptureQueriesContext

from application.statistics import KEPT
from domain.outcomes import Rejected, Unavailable
from domain.workflows.cashout import CASHOUT
from domain.workflows.commandes import COMMANDES
from interfaces.console import live
from interfaces.console.statistics import WINDOWS
from saga_service import bootstrap
from tests.unit.interfaces.test_drawing import SVG

api = api_support.api

PAGE = "/console/statistics/"


@pytest.fixture(autouse=True)
def forgetful():
    live._drawn.clear()
    live._pulse._until = -1.0


@pytest.fixture
def some(api):
    """Of orders two done, one of them after a repeated call, one refused, one undone and one live; a cash-out."""
    order(api)
    answers = iter([Unavailable("busy")])
    order(api, reservation_stock=lambda _task: next(answers, None))
    order(api, verification_stock=Rejected("nothing left"))
    order(api, creation_commande=Rejected("blocked"))
    order(api, reservation_stock=Unavailable("busy", 5.0))
    api.participants.answers = {}
    api.post(START, {"workflow": CASHOUT.name, "input": {"bet_slip_id": 123, "user_id": 456}})
    roll_up(api)
    return api


def order(api, **answers):
    api.participants.answers = answers
    return api.post(START, {"workflow": COMMANDES.name, "input": ORDER}).json()["id"]


def roll_up(api):
    bootstrap.platform().statistics.roll_up(api.clock.now(), 1000)


def shown(api, query=""):
    live._drawn.clear()
    answer = api.http.get(PAGE + query)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def words(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def figures(html):
    tiles = re.findall(r'<li class="tile"><strong>(.*?)</strong> <span>(.*?)</span>', html)
    return {word: figure for figure, word in tiles}


@pytest.mark.parametrize("window", WINDOWS)
def test_the_figures_are_those_of_the_sagas(some, window):
    told = figures(shown(some, f"?window={window}"))

    assert {word: told[word] for word in ("started", "ended", "of them succeeded", "of them undone")} == {
        "started": "6", "ended": "5", "of them succeeded": "60 %", "of them undone": "20 %",
    }  # fmt: skip
    assert told["repeated a call"] == "20 %"
    assert float(told["median duration, about"].split()[0]) > 0


def test_one_workflow_is_shown_alone(some):
    html = shown(some, f"?workflow={CASHOUT.name}")

    assert (figures(html)["started"], figures(html)["ended"], figures(html)["of them succeeded"]) == ("1", "1", "100 %")
    assert f"?window=day&amp;workflow={CASHOUT.name}" in html
    assert "COMPLETED COMPENSATED FAILED cashout_flow 1 0 0" in words(html)
    assert "commandes 2 1 1" not in words(html)


def test_the_totals_are_by_workflow_and_how_they_ended(some):
    html = words(shown(some))

    assert html.count("cashout_flow 1 0 0 commandes 2 1 1") == 2


def test_the_table_says_what_the_charts_do(some):
    some.clock.sleep(60 * 5)
    order(some)
    roll_up(some)
    html = shown(some)

    rows = [words(row).split() for row in re.findall(r'<tr><th scope="row" class="short">.*?</tr>', html)]
    cells = [row[2:6] for row in rows]
    assert cells[0] == ["1", "1", "0", "0"]
    assert [sum(int(row[place]) for row in cells) for place in range(4)] == [7, 4, 1, 1]


@pytest.mark.parametrize("window", WINDOWS)
def test_the_charts_are_whole_named_and_told(some, window):
    html = shown(some, f"?window={window}")
    charts = [ET.fromstring(svg) for svg in re.findall(r'<svg xmlns="[^"]*" class="chart".*?</svg>', html, re.DOTALL)]

    assert [svg.get("role") for svg in charts] == ["img"] * 3
    assert charts[0].get("aria-label").startswith("6 started and 5 ended")
    assert charts[1].get("aria-label") == "60 % of those that ended succeeded."
    assert all(len(list(svg.iter(f"{SVG}title"))) == WINDOWS[window][4] for svg in charts)
    bars = [rect for rect in charts[0].iter(f"{SVG}rect") if rect.get("class").startswith("of-")]
    assert {rect.get("class") for rect in bars} == {"of-COMPLETED", "of-COMPENSATED", "of-FAILED"}
    assert all(0 <= float(rect.get("y")) <= 120 for rect in bars)
    assert " style=" not in html


@pytest.mark.parametrize("query", ["", "?window=century", "?workflow=nothing", "?window=week&workflow=commandes"])
def test_without_sagas_it_says_so(api, query):
    assert "No saga started or ended in this time." in shown(api, query)


def test_figures_that_lack_what_ended_more_than_a_minute_ago_say_so(api):
    order(api)
    assert "incomplete" not in words(shown(api))

    api.clock.ahead += timedelta(seconds=150)
    assert "sagas that ended 2 minutes ago are not counted yet" in words(shown(api))
    roll_up(api)
    assert "incomplete" not in words(shown(api))


def test_the_rollup_keeps_each_span_for_longer_than_it_is_shown():
    for *_titles, length, point, count in WINDOWS.values():
        assert point % length == 0
        assert KEPT[length] is None or KEPT[length].total_seconds() > 2 * point * count


def test_it_costs_the_same_queries_whatever_is_in_it(api):
    def queries():
        with CaptureQueriesContext(connection) as asked:
            shown(api, "?window=week")
        return len(asked)

    shown(api)
    before = queries()
    for _ in range(5):
        order(api)
    roll_up(api)
    assert queries() == before


@pytest.mark.django_db(transaction=True)
def test_an_open_page_shows_an_ending_once_it_is_counted(api):
    page = shown(api)
    address = unescape(re.search(r'id="live" hx-get="([^"]*)"', page)[1])
    order(api)
    roll_up(api)
    live._pulse._until = -1.0

    answer = api.http.get(address, headers={"HX-Request": "true"})
    assert figures(answer.content.decode())["ended"] == "1"
