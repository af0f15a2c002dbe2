"""When an open page of the console is drawn again: after every change of what it shows, and after nothing else."""

import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape

import api_support
import pytest
from api_support import ORDER, START
from django.db import connection
from django.test.utils import CaptureQueriesContext

from application.bulk import Bulk, BulkRunner
from domain.outcomes import Rejected, Unavailable
from domain.workflows import shipped_definitions
from domain.workflows.cashout import CASHOUT
from domain.workflows.commandes import COMMANDES
from infrastructure.definition_store import DefinitionStore
from interfaces.callers import ANYBODY_IN_DEVELOPMENT
from interfaces.console import live
from interfaces.console.seldom import Seldom
from interfaces.platform import platform

api = api_support.api
SLIP = {"bet_slip_id": 123, "user_id": 456}
VIEWERS = 8


class Seconds:
    """The console's clock, which a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    seconds = Seconds()
    monkeypatch.setattr(live, "_clock", seconds)
    live._drawn.clear()
    live._pulse = live.Pulse(live._read, seconds)
    return seconds


class Viewer:
    """A browser that shows a page."""

    def __init__(self, api, path):
        self.api = api
        self.shown = self.take(api.http.get(path))

    def take(self, answer):
        self.at = unescape(re.search(r'id="live" hx-get="([^"]*)"', answer.content.decode())[1])
        return answer.content.decode()

    def poll(self):
        """What it draws again; nothing when nothing has changed."""
        answer = self.api.http.get(self.at, headers={"HX-Request": "true"})
        assert answer.status_code in {200, 204}
        return self.take(answer) if answer.status_code == 200 else None


def start(api, workflow=COMMANDES.name, given=None, **answers):
    api.participants.answers.update(answers)
    return api.post(START, {"workflow": workflow, "input": given or ORDER}).json()["id"]


def parked(api):
    return start(
        api, CASHOUT.name, SLIP, **{"liability_update": Rejected("limit"), "wallet_credit:undo": Rejected("closed")}
    )


def operate(api, saga_id, verb):
    assert api.post(f"/api/sagas/transactions/{saga_id}/{verb}/", {"reason": "asked"}).status_code < 300


def beat():
    now = datetime.now(UTC)
    platform().heartbeat.beat("host:1", now, now)


def test_a_worker_that_beats_costs_the_viewers_of_finished_sagas_one_statement_together(api, clock):
    viewers = [Viewer(api, f"/console/sagas/{start(api)}/") for _ in range(VIEWERS)]

    for _ in range(12):
        clock.now += 2
        beat()
        with CaptureQueriesContext(connection) as asked:
            assert [viewer.poll() for viewer in viewers] == [None] * VIEWERS
        assert len(asked) == 1, "also when ten seconds have passed: nothing of a finished saga changes by time"


@pytest.mark.parametrize("path", ["/console/", "/console/trouble/", "/console/statistics/", "/console/workflows/"])
def test_a_worker_that_beats_has_no_page_drawn_again(api, clock, path):
    viewer = Viewer(api, path)

    clock.now += 2
    beat()
    with CaptureQueriesContext(connection) as asked:
        assert viewer.poll() is None
    assert len(asked) == 1


def test_a_finished_saga_that_is_turned_back_is_drawn_again(api, clock):
    saga_id = start(api)
    viewer, other = Viewer(api, f"/console/sagas/{saga_id}/"), Viewer(api, f"/console/sagas/{start(api)}/")
    operate(api, saga_id, "compensate")

    clock.now += 2
    assert 'data-status="COMPENSATING"' in viewer.poll()
    assert other.poll() is None


def test_a_saga_that_nobody_moves_is_drawn_again_when_time_has_made_it_late(api, clock):
    viewer = Viewer(api, f"/console/sagas/{start(api, information_produit=Unavailable('away', retry_after=3.0))}/")
    api.clock.ahead += timedelta(minutes=1)

    clock.now += 2
    assert viewer.poll() is None
    clock.now += live.STALE
    assert "due since" in viewer.poll()


def test_a_saga_is_drawn_again_when_its_driver_has_a_longer_lease(api, clock):
    saga_id = start(api, information_produit=Unavailable("away", retry_after=3.0))
    viewer = Viewer(api, f"/console/sagas/{saga_id}/")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas SET lease_expires_at = now() + interval '1 hour', lease_owner = 'w:7'")

    clock.now += 2
    assert "w:7 drives it" in viewer.poll()


def test_the_mark_is_another_one_after_each_change_of_a_list_a_count_or_a_remedy_and_after_no_other(api):
    seen = [platform().queries.mark()]

    def moved():
        seen.append(platform().queries.mark())
        return seen[-1] not in seen[:-1]

    assert not moved()
    waits = start(api, information_produit=Unavailable("away", retry_after=3.0))
    assert moved(), "one was started"
    api.participants.answers.clear()
    start(api)
    assert moved(), "one was started and has ended"
    operate(api, waits, "pause")
    assert moved(), "one was paused"
    assert platform().statistics.roll_up(datetime.now(UTC), 100)
    assert moved(), "an ending was counted"
    parked(api)
    assert moved(), "one was parked"
    platform().statistics.roll_up(datetime.now(UTC), 100)
    assert not moved() and not moved(), "nothing had ended"
    _begin_remedy()
    assert moved(), "a remedy has begun"
    runner = BulkRunner(platform().operations, platform().bulk, "w-1", lambda _: False)
    while runner.run_one():
        pass
    assert moved(), "a remedy has ended"
    DefinitionStore([replace(shipped_definitions()[0], name="another")]).register()
    assert moved(), "a workflow was published"
    beat()
    assert not moved(), "a worker said that it is at work"


def _begin_remedy():
    [group] = [group for group in platform().bulk.failures(10) if group.parked]
    platform().bulk.begin(
        Bulk(
            id=platform().engine.new_id(),
            group=group.id,
            verb="retry",
            reason="reopened",
            actor="anna",
            per_second=1000.0,
            created_at=datetime.now(UTC),
        )
    )


def test_an_older_saga_that_is_stored_after_a_newer_one_is_seen(api):
    start(api)
    late = platform().engine.new_id()
    start(api)
    before = platform().queries.mark()
    with connection.cursor() as cursor:
        columns = (
            "workflow, version, tenant, correlation_id, status, state, data, seq, deadline_at, created_at, updated_at"
        )
        cursor.execute(
            f"INSERT INTO sagas (id, {columns}, finished_at) SELECT %s, {columns}, finished_at FROM sagas LIMIT 1",
            [late],
        )

    assert platform().queries.mark() != before


def test_a_subject_that_no_browser_asks_for_is_asked_about_no_more():
    asked, seconds = [], Seconds()

    def read(subjects):
        asked.append(set(subjects))
        return {}

    pulse = live.Pulse(read, seconds)
    pulse.fresh("a")
    pulse.mark("b")
    seconds.now += 2
    pulse.mark("b")
    assert asked[-1] == {"a", "b"}
    seconds.now += live.FORGOTTEN
    pulse.mark("b")
    assert asked[-1] == {"b"}


def test_a_question_that_takes_long_is_asked_less_often():
    seconds, asked = Seconds(), []

    def read(subjects):
        asked.append(seconds.now)
        seconds.now += 0.1
        return {}

    pulse = live.Pulse(read, seconds)
    for _ in range(40):
        pulse.mark(None)
        seconds.now += 0.1
    assert len(asked) == 2


def part(size, mark="m"):
    return live.Drawn("x" * size, "digest", size, mark, live.math.inf)


def test_a_part_that_is_looked_at_is_kept_and_another_goes_when_there_are_too_many_bytes(monkeypatch):
    monkeypatch.setattr(live, "MOST_BYTES", 1000)
    parts = live.Parts()
    for name in ("a", "b", "c"):
        parts.put(name, part(300))
    assert parts.get("a", "m")
    parts.put("d", part(300))
    assert [bool(parts.get(name, "m")) for name in "abcd"] == [True, False, True, True]

    parts.put("a", part(50, "later"))
    assert (parts.get("a", "m"), bool(parts.get("a", "later"))) == (None, True)
    parts.put("e", part(340))
    assert bool(parts.get("c", "m")), "an older drawing of the same part no longer counts"
    parts.put("huge", part(5000))
    assert not parts.get("huge", "m")


def test_who_comes_while_a_part_is_drawn_waits_for_it_and_draws_it_not_again(rf):
    drawings, begun = [], threading.Barrier(4)
    request = rf.get("/console/")
    request.caller = ANYBODY_IN_DEVELOPMENT

    def build():
        drawings.append(1)
        time.sleep(0.2)  # long enough for all the others to come meanwhile
        return {"settled": True, "faults": ["x"]}

    def look():
        begun.wait()
        live._part(request, "sagas", build, None, fresh=False)

    live._pulse = live.Pulse(lambda _: {None: "1"}, lambda: 0.0)
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawings == [1]


def test_a_part_that_is_dear_to_draw_is_drawn_less_often_but_not_for_who_opens_the_page(rf, clock):
    marks, drawings = iter(range(100)), []
    request = rf.get("/console/")
    request.caller = ANYBODY_IN_DEVELOPMENT

    def build():
        drawings.append(clock.now)
        clock.now += 0.4
        return {"settled": True, "faults": ["x"]}

    live._pulse = live.Pulse(lambda _: {None: str(next(marks))}, clock)  # whatever is asked has changed
    for _ in range(5):
        clock.now += 1.9
        live._part(request, "sagas", build, None, fresh=False)
    assert len(drawings) == 2, "it rests, and longer than it took"
    live._part(request, "sagas", build, None, fresh=True)
    assert len(drawings) == 3


def test_what_is_dear_to_read_is_read_again_after_a_rest_and_what_is_cheap_every_time():
    seconds, reads = Seconds(), []

    def read():
        reads.append(seconds.now)
        seconds.now += takes
        return len(reads)

    seldom, takes = Seldom(read, seconds), 0.4
    assert [seldom.get(), seldom.get()] == [1, 1]
    seconds.now += 8
    assert seldom.get() == 2
    seldom.forget()
    takes = 0.01
    assert [seldom.get(), seldom.get()] == [3, 4]
    takes = 60.0
    seldom.get()
    seconds.now += 10
    assert seldom.get() == 6, "but never longer than ten seconds"
