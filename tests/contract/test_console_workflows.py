"""The console's pages about workflows: the list, one version as a person reads it, and how its sagas went."""

import json
import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree as ET

import api_support
import pytest
from api_support import ORDER, START
from django.db import connection
from django.test.utils import CaptureQueriesContext

from domain.outcomes import Rejected, Unavailable
from domain.workflows import shipped_definitions
from domain.workflows.commandes import COMMANDES
from infrastructure.definition_store import DefinitionStore
from interfaces.console import live
from interfaces.diagrams import changes
from saga_service import bootstrap

api = api_support.api

PAGE = "/console/workflows/commandes/"
NEXT = replace(COMMANDES, version=COMMANDES.version + 1, title="Newer")


@pytest.fixture(autouse=True)
def forgetful():
    live._drawn.clear()
    live._pulse._until = -1.0


def order(api, **answers):
    api.participants.answers = answers
    return api.post(START, {"workflow": COMMANDES.name, "input": ORDER}).json()["id"]


def shown(api, path=PAGE):
    answer = api.http.get(path)
    assert answer.status_code == 200, answer.content
    return unescape(answer.content.decode())


def words(html):
    """The text of a part of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def row(html, name):
    """The row of a table whose heading begins so, as text."""
    return next(words(row) for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL) if words(row).startswith(name))


def test_the_list_says_how_every_workflow_goes(api):
    order(api)
    order(api)
    order(api, verification_stock=Rejected("nothing left"))
    order(api, reservation_stock=Unavailable("busy", 5.0))

    html = shown(api, "/console/workflows/")
    assert row(html, "commandes") == (
        f"commandes Création de commande e-commerce {COMMANDES.version} 4 1 66.7 % of the last 3 3 remarks"
    )
    assert " 2 0 – " in row(html, "partner_creation")
    assert all(row(html, definition.name) for definition in shipped_definitions())


def test_the_list_costs_as_many_queries_however_many_sagas_and_versions_there_are(api):
    def queries():
        live._drawn.clear()
        with CaptureQueriesContext(
            connection,
        ) as asked:
            shown(api, "/console/workflows/")
        return len(asked)

    shown(api, "/console/workflows/")
    before = queries()
    for _ in range(3):
        order(api)
    bootstrap.definitions().add(NEXT, by="anna")
    queries()  # the new version is read once
    assert queries() == before


def test_a_workflow_is_read_step_by_step(api):
    html = shown(api)

    step = row(html, "3. reservation_stock")
    assert "can be undone POST inventaire /api/ddd/inventaire/stock-local/" in step
    assert "liberations/" in step
    assert "5 s for the answer; retries: 1, 200 ms to 10 s apart" in step
    assert "retries of the undo: 12, 500 ms to 1 min 0 s apart" in step
    assert step.endswith("RESERVATION_STOCK STOCK_RESERVE failed: ECHEC_RESERVATION_STOCK")
    assert "for each of ${input.lignes} refused when ${response.quantite_disponible" in row(html, "1. verification_st")
    assert "steps[0].output.quantite_disponible is read by no step" in words(html)


def test_every_shipped_workflow_has_its_page_with_its_states_drawn(api):
    for definition in shipped_definitions():
        html = shown(api, f"/console/workflows/{definition.name}/{definition.version}/")
        svg = ET.fromstring(re.search(r"<svg.*</svg>", html, re.DOTALL)[0])
        drawn = [(g.get("data-from"), g.get("data-to")) for g in svg.iter() if g.get("data-from")]
        assert sorted(drawn) == sorted(changes(definition))
        assert "stateDiagram-v2" in html
        assert "flowchart TD" in html
        assert json.loads(re.search(r"<summary>JSON</summary><pre[^>]*>(.*?)</pre>", html, re.DOTALL)[1]) == (
            DefinitionStore([]).content(definition)
        )


def test_the_newest_version_is_shown_and_the_others_are_linked(api):
    bootstrap.definitions().add(NEXT, by="anna")

    newest, older = shown(api), shown(api, f"{PAGE}{COMMANDES.version}/")
    assert "Newer" in newest
    assert f'href="{PAGE}{COMMANDES.version}/"' in newest
    assert f'href="{PAGE}{NEXT.version}/"' not in newest
    assert f'href="{PAGE}{NEXT.version}/"' in older
    assert "Newer" not in older
    assert "by anna" in words(newest)
    assert "by release" in words(older)


@pytest.mark.parametrize("path", ["/console/workflows/nothing/", "/console/workflows/commandes/99/"])
def test_a_workflow_that_is_not_there_is_not_found(api, path):
    assert api.http.get(path).status_code == 404


def test_the_times_of_steps_are_over_the_sagas_that_ended(api):
    assert "No saga of this version has ended yet." in shown(api)

    for _ in range(3):
        order(api)
    order(api, verification_stock=Rejected("nothing left"))
    order(api, creation_commande=Rejected("blocked"))
    order(api, reservation_stock=iter_once(Unavailable("busy")))
    order(api, reservation_stock=Unavailable("busy", 5.0))  # goes on

    html = shown(api)
    assert "Over the last 6 finished sagas of this version." in html
    assert row(html, "verification_stock").endswith("5 done, 1 failed")
    assert row(html, "reservation_stock").endswith("5 done, 1 undone, 1 retried")
    assert row(html, "creation_commande").endswith("4 done, 1 failed")
    assert row(html, "whole saga").endswith("4 done, 1 failed, 1 undone, 1 retried")
    assert "done 66.7 % undone 16.7 % failed 16.7 % retried 16.7 %" in words(html)


def iter_once(outcome):
    """This answer the first time."""
    answers = iter([outcome])
    return lambda _task: next(answers, None)


def test_the_times_are_those_of_the_steps(api):
    def slow(task):
        api.clock.sleep(5)

    order(api)
    order(api, creation_commande=slow)

    _, *cells = row(shown(api), "creation_commande").split()
    assert cells[1:6:2] == ["s"] * 3
    assert [float(cell) for cell in cells[0:6:2]] == pytest.approx([2.5, 4.75, 5], rel=0.05)


def test_what_is_read_for_the_times_is_bounded_and_the_newest(api):
    for _ in range(3):
        order(api)
    order(api, verification_stock=Rejected("nothing left"))

    def ended(**most):
        return platform_times(**{"sagas": 200, "events": 20_000, **most})[0]

    assert (ended().begun, ended().done) == (4, 3)
    assert (ended(sagas=2).begun, ended(sagas=2).done) == (2, 1)
    assert (ended(events=1).begun, ended(events=1).failed) == (1, 1)


def platform_times(**most):
    return bootstrap.platform().statistics.times(COMMANDES.name, COMMANDES.version, **most)
