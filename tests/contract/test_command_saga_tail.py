"""`manage.py saga tail`: whatever moves is shown, once, in the order in which it happened; nothing else is read."""

import io
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import api_support
import pytest
from api_support import ORDER, START
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from domain.outcomes import Rejected, Unavailable
from infrastructure.saga_queries import PostgresSagaQueries
from interfaces import tail_command
from interfaces.plain_text import plain
from interfaces.progress_bar import ProgressBar
from interfaces.tail import MARGIN, Tail
from interfaces.tail_view import JsonLines, Lines, OneSaga, Screen, event_line
from saga_service import bootstrap

api = api_support.api

OPERATE = "/api/sagas/transactions/{}/{}/"


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Behind(PostgresSagaQueries):
    """As if what is stored were written by machines whose clocks are behind, or whose commits are late."""

    def __init__(self, late=timedelta()):
        self.late = late

    def now(self):
        return super().now() + self.late


def start(api, correlation_id="desk-7", **answers):
    api.participants.answers.update(answers)
    asked = {"workflow": "commandes", "input": ORDER, "correlation_id": correlation_id}
    return api.post(START, asked).json()["id"]


def operate(api, saga_id, verb):
    assert api.post(OPERATE.format(saga_id, verb), {"reason": "ticket 7"}).status_code < 300


def seen(tail):
    return [(str(row["saga_id"]), row["type"]) for rows in tail.look() for row in rows]


def types(found, saga_id):
    return [kind for each, kind in found if each == saga_id]


def test_shows_new_sagas_from_their_start_and_each_event_once(api):
    tail = Tail(PostgresSagaQueries())
    done, waits = start(api), start(api, creation_commande=Unavailable("busy", 5.0))
    found = seen(tail)
    assert types(found, done)[0] == "saga_started" and types(found, done)[-1] == "saga_completed"
    assert "attempt_failed" in types(found, waits)
    assert found.index((done, "saga_completed")) < found.index((waits, "saga_started"))
    assert seen(tail) == []


def test_shows_an_old_saga_that_moves_again_but_not_its_history(api, monkeypatch):
    done, parked = (
        start(api),
        start(api, **{"creation_commande": Rejected("no"), "reservation_stock:undo": Rejected("?")}),
    )
    monkeypatch.setattr("interfaces.tail.MARGIN", timedelta())  # what is old ended more than ten seconds ago
    tail = Tail(PostgresSagaQueries())
    assert seen(tail) == []
    operate(api, done, "compensate")
    operate(api, parked, "retry")
    found = seen(tail)
    assert types(found, done)[0] == "compensation_requested"
    assert types(found, parked)[0] == "retry_requested"


@pytest.mark.parametrize("late", [timedelta(), MARGIN * 0.8])
def test_what_ends_between_two_looks_is_found_although_it_is_stored_late(api, late):
    tail = Tail(Behind(late), since=datetime.now(UTC))
    assert seen(tail) == []
    done = start(api)
    assert types(seen(tail), done)[-1] == "saga_completed"
    assert seen(tail) == []


def test_a_saga_that_was_live_is_followed_to_its_end_whatever_the_clocks_say(api):
    tail = Tail(Behind(timedelta(hours=1)), since=datetime.now(UTC))
    waits = start(api, creation_commande=Unavailable("busy", 5.0))
    assert "attempt_failed" in types(seen(tail), waits)
    operate(api, waits, "pause")
    bootstrap.engine()
    assert (
        api.post(OPERATE.format(waits, "resolve"), {"reason": "by hand", "outcome": "compensated"}).status_code == 200
    )
    assert types(seen(tail), waits)[-2:] == ["saga_paused", "saga_resolved"]
    assert seen(tail) == []


def test_since_shows_what_happened_then_and_a_workflow_leaves_the_others_out(api):
    done = start(api)
    assert types(seen(Tail(PostgresSagaQueries(), since=datetime.now(UTC) - timedelta(hours=1))), done)
    assert seen(Tail(PostgresSagaQueries(), "cashout_flow", datetime.now(UTC) - timedelta(hours=1))) == []
    assert seen(Tail(PostgresSagaQueries(), since=datetime.now(UTC))) == []


def test_many_are_read_in_parts_without_a_gap(api, monkeypatch):
    monkeypatch.setattr("interfaces.tail.AT_ONCE", 2)
    monkeypatch.setattr("interfaces.tail.ENDED_AT_ONCE", 2)
    started = [start(api, f"desk-{number}") for number in range(5)]
    found = seen(Tail(PostgresSagaQueries(), since=datetime.now(UTC) - timedelta(hours=1)))
    assert [saga_id for saga_id, kind in found if kind == "saga_completed"] == started
    assert len(found) == 5 * len(types(found, started[0]))


def test_a_look_at_nothing_new_costs_three_short_reads(api):
    start(api)
    tail = Tail(PostgresSagaQueries())
    seen(tail)
    with CaptureQueriesContext(connection) as asked:
        assert seen(tail) == []
    assert len(asked) == 3


def test_a_look_that_the_database_cut_short_is_made_again(api):
    class Cut(PostgresSagaQueries):
        broken = True

        def events_beyond(self, seen, since):
            if self.broken:
                raise OperationalError("server closed the connection unexpectedly\n\tThis probably means ...")
            return super().events_beyond(seen, since)

    queries, out, err = Cut(), io.StringIO(), io.StringIO()
    tail, view = Tail(queries), Lines(out, err)
    done = start(api)

    def look():
        for rows in tail.look():
            view.events(rows)
        return False

    patient = tail_command._patient(look, view, lambda: None)
    assert not patient() and not patient()
    queries.broken = False
    assert not patient()
    assert err.getvalue().splitlines() == [
        "the database does not answer: server closed the connection unexpectedly; waiting for it",
        "the database answers again; nothing was missed",
    ]
    assert f"{done} commandes COMPLETED saga_completed" in out.getvalue()


def tail_of(*given):
    out = io.StringIO()
    call_command("saga", "tail", *given, stdout=out, stderr=out)
    return out.getvalue().splitlines()


def test_one_saga_is_followed_to_its_end_a_line_an_event(api):
    saga_id = start(api, creation_commande=Rejected("blocked\n\x1b[31mred"))
    *events, last = tail_of("--saga", saga_id)
    assert events == tail_of(saga_id)[:-1]
    assert " ".join(events[0].split()[1:]) == f"{saga_id} commandes RUNNING saga_started by=development"
    [refused] = [line for line in events if "outcome=rejected" in line and "attempt_failed" in line]
    assert refused.endswith(r"reason=blocked\n\x1b[31mred")
    assert "step=creation_commande action=do attempt=1" in refused
    assert last.split(" ", 2)[2].startswith("COMPENSATED: Ended after")


def test_json_lines_are_what_the_api_gives_and_the_workflow(api):
    saga_id = start(api)
    lines = [json.loads(line) for line in tail_of(saga_id, "--json")]
    given = api.get(f"/api/sagas/transactions/{saga_id}/events/?limit=200").json()
    assert [{**event, "workflow": "commandes"} for event in given["results"]] == lines


def test_shows_people_no_personal_data_and_programs_all(api):
    email = "sol@example.org"
    partner = {"nombre": "Sol", "email": email, "telefono": "+34 600 000 000", "direccion": "c/ Mayor 1"}
    api.participants.answers["create_partner"] = Rejected(f"{email} is known already")
    saga_id = api.post(START, {"workflow": "partner_creation", "input": partner}).json()["id"]
    out, engine = Terminal(), bootstrap.engine()
    with OneSaga(out) as view:
        view.saga(engine.store.look(UUID(saga_id)), engine.clock.now())
    told = "\n".join(tail_of(saga_id)) + out.getvalue()

    assert "••• is known already" in told and email not in told
    assert email in "\n".join(tail_of(saga_id, "--json"))


def test_a_terminal_shows_one_saga_with_its_steps_its_undos_and_why(api):
    answers = {"creation_commande": Rejected("blocked"), "reservation_stock:undo": Rejected("not known")}
    saga_id = start(api, **answers)
    engine, out = bootstrap.engine(), Terminal()
    with OneSaga(out) as view:
        view.saga(engine.store.look(UUID(saga_id)), engine.clock.now())
    shown = out.getvalue()
    for word in (
        "STUCK",
        "Parked: the undo of reservation_stock",
        "creation_commande",
        "failed, rejected",
        "saga_parked",
    ):
        assert word in shown


def test_a_terminal_shows_the_saga_that_moved_last_on_top(api, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    first, second = start(api), start(api)
    out = Terminal()
    with Screen(out, "all workflows") as view:
        for rows in Tail(PostgresSagaQueries(), since=datetime.now(UTC) - timedelta(hours=1)).look():
            view.events(rows)
    last = out.getvalue().rpartition("time")[2]
    assert last.index(second) < last.index(first)
    assert "all workflows; 20 events; Ctrl-C ends" in last


EVIL = [
    "cannot open [/var/lib/x]",
    "[link=http://evil.example]click[/link] [red]x[/red]",
    "a\x1b[31mred\x1b]8;;x\x07\nb",
]


@pytest.mark.parametrize("reason", EVIL)
@pytest.mark.parametrize("picture", ["all", "one"])
def test_a_terminal_shows_what_a_participant_wrote_and_obeys_none_of_it(api, monkeypatch, reason, picture):
    monkeypatch.setenv("COLUMNS", "250")
    saga_id = start(api, creation_commande=Rejected(reason))
    engine, out = bootstrap.engine(), Terminal()
    if picture == "one":
        with OneSaga(out) as view:
            view.saga(engine.store.look(UUID(saga_id)), engine.clock.now())
    else:
        with Screen(out, f"workflow {reason}") as view:
            view.say("nothing")
            for rows in Tail(PostgresSagaQueries(), since=datetime.now(UTC) - timedelta(hours=1)).look():
                view.events([row for row in rows if row["reason"] == reason])
            assert f"rejected: {plain(reason)}" in out.getvalue()
            view.say(reason)
    shown = out.getvalue()

    assert plain(reason) in shown
    assert "\x1b]8" not in shown and "\x07" not in shown and "\x1b[31mred" not in shown


@pytest.mark.parametrize("reason", EVIL)
def test_the_command_line_obeys_nothing_of_what_a_participant_wrote(api, reason):
    saga_id, out = start(api, creation_commande=Rejected(reason)), io.StringIO()
    call_command("saga", "list", stdout=out)
    call_command("saga", "show", saga_id, stdout=out)

    assert plain(reason) in out.getvalue()
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue()


@pytest.mark.parametrize("note", EVIL)
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_progress_bar_shows_what_it_is_told_as_it_is(note, stream):
    out = stream()
    with ProgressBar(note, 2, note, stream=out, every=0.0) as bar:
        bar.advance(note)
        bar.say(note)

    assert plain(note) in out.getvalue()
    assert "\x1b]8" not in out.getvalue() and "\x1b[31mred" not in out.getvalue()


def test_the_lines_of_an_event_have_no_line_breaks():
    row = {"at": datetime(2026, 1, 31, 12, tzinfo=UTC), "saga_id": "s", "workflow": "w", "status": "STUCK", "type": "t"}
    rest = dict.fromkeys(("step", "item", "action", "attempt", "outcome", "http_status", "duration", "due_at"))
    line = event_line({**row, **rest, "actor": "anna b", "reason": "a\nb"})
    assert line == r"2026-01-31T12:00:00.000Z s w STUCK t by=anna_b reason=a\nb"
    assert issubclass(JsonLines, Lines)
