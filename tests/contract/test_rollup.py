"""What statistics are read from: each ending counts once, as PostgreSQL itself would count, whatever comes between."""

import random
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import api_support
import pytest
from api_support import ORDER, START
from django.db import connection, transaction

from application.recovery import claim_due, drive
from application.statistics import BOUNDS, EPOCH, EVER, KEPT, percentile
from domain.events import SagaStatus
from domain.outcomes import Rejected, Unavailable
from domain.workflows.commandes import COMMANDES
from infrastructure.models import RollupDueRow, RollupRow, SagaRow
from infrastructure.statistics import PostgresStatistics
from saga_service import bootstrap

api = api_support.api

MINUTE = timedelta(minutes=1)
_ENDED = """
SELECT CASE %(span)s WHEN 0 THEN 'epoch' ELSE date_bin(%(span)s * interval '1 s', {at}, 'epoch') END::timestamptz,
    workflow, version, {status}, {duration}, count(*)
FROM sagas WHERE finished_at IS NOT NULL GROUP BY 1, 2, 3, 4, 5
"""
_ENDINGS = _ENDED.format(
    at="finished_at",
    status="status",
    duration="width_bucket(extract(epoch FROM finished_at - created_at)::float8, %(bounds)s::float8[])",
)
_STARTS = _ENDED.format(at="created_at", status="'RUNNING'::saga_status", duration="0")
_RETRIED = """
SELECT count(*) FROM sagas WHERE finished_at IS NOT NULL AND EXISTS (
    SELECT FROM saga_evenements WHERE saga_id = sagas.id AND type = 'attempt_failed' AND due_at IS NOT NULL
)
"""


def asked(query, **values):
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def by_sql(span):
    """Counted over the sagas themselves."""
    rows = asked(_ENDINGS, span=span, bounds=list(BOUNDS)) + asked(_STARTS, span=span)
    return {row[:-1]: row[-1] for row in rows}


def by_rollup(span):
    rows = RollupRow.objects.filter(span=span).exclude(sagas=0)
    return {
        row[:-1]: row[-1] for row in rows.values_list("since", "workflow", "version", "status", "duration", "sagas")
    }


def roll_up(now=None, limit=1000):
    return PostgresStatistics().roll_up(now or datetime.now(UTC), limit)


def drain(now=None):
    while roll_up(now, 7):
        pass


def order(api, **answers):
    api.participants.answers = answers
    return api.post(START, {"workflow": COMMANDES.name, "input": ORDER}).json()


def compensate(api, saga_id):
    return api.post(f"/api/sagas/transactions/{saga_id}/compensate/", {"reason": "ticket 7"}).status_code


def work(api):
    """As a worker would: whoever is due goes on."""
    engine = bootstrap.platform().engine
    lease, claimed = claim_due(engine, 10)
    for one in claimed:
        drive(engine, one, lease, lambda: False)


def slow(api, seconds):
    return lambda _task: api.clock.sleep(seconds)


def once(outcome):
    answers = iter([outcome])
    return lambda _task: next(answers, None)


@pytest.mark.parametrize("seed", range(8))
def test_after_any_mix_the_rollup_counts_what_the_sagas_say(api, seed):
    chance = random.Random(seed)
    completed = []

    def done(**answers):
        saga = order(api, **answers)
        completed.extend([saga["id"]] if saga["status"] == "COMPLETED" else [])

    acts = [
        done,
        lambda: done(creation_commande=slow(api, chance.choice([0.02, 0.4, 3]))),
        lambda: done(reservation_stock=once(Unavailable("busy"))),
        lambda: done(verification_stock=Rejected("nothing left")),
        lambda: done(creation_commande=Rejected("blocked")),
        lambda: done(creation_commande=Unavailable("busy", 5.0)),
        lambda: completed and compensate(api, completed.pop(chance.randrange(len(completed)))),
        lambda: work(api),
        lambda: api.clock.sleep(chance.choice([1, 70, 4000])),
        lambda: roll_up(api.clock.now(), chance.choice([1, 3])),
    ]
    for _ in range(40):
        chance.choice(acts)()
    drain(api.clock.now())

    kept = [span for span, length in KEPT.items() if length is None]
    assert by_sql(EVER) != {}
    assert {span: by_rollup(span) for span in kept} == {span: by_sql(span) for span in kept}
    assert RollupDueRow.objects.count() == 0
    assert sum(RollupRow.objects.filter(span=EVER).values_list("retried", flat=True)) == asked(_RETRIED)[0][0]


@pytest.mark.parametrize("span", KEPT)
def test_every_span_of_time_has_what_ended_in_it(api, span):
    for answers in ({}, {"verification_stock": Rejected("none")}, {"creation_commande": slow(api, 2)}):
        order(api, **answers)
    drain(api.clock.now())

    assert by_rollup(span) == by_sql(span)


def test_a_saga_that_turns_back_is_taken_off_and_counts_again_when_it_has_ended(api):
    saga_id = order(api, reservation_stock=once(Unavailable("busy")))["id"]
    drain()
    api.clock.sleep(120)
    assert compensate(api, saga_id) == 200
    drain()
    assert by_rollup(EVER) == {}
    assert sum(RollupRow.objects.values_list("retried", flat=True)) == 0

    work(api)
    drain(api.clock.now())
    ended = {status: n for (*_, status, _duration), n in by_rollup(EVER).items()}
    assert ended == {SagaStatus.COMPENSATED: 1, SagaStatus.RUNNING: 1}
    assert by_rollup(60) == by_sql(60)


def test_retention_leaves_the_counts(api):
    order(api)
    drain()
    before = by_rollup(EVER)
    retention = bootstrap.platform().retention
    assert retention.prune(COMMANDES.name, datetime.now(UTC) + MINUTE, None, 10).sagas == 1

    drain()
    assert by_rollup(EVER) == before
    assert PostgresStatistics().ended(EVER, EPOCH) == {COMMANDES.name: {"COMPLETED": 1}}


def test_short_spans_go_when_they_are_old_and_long_ones_stay(api):
    order(api)
    drain()
    roll_up(datetime.now(UTC) + timedelta(days=30))

    assert {span for span in KEPT if by_rollup(span)} == {3600, EVER}


def test_what_ended_before_a_span_is_kept_counts_in_the_others(api):
    order(api)
    drain(datetime.now(UTC) + timedelta(days=30))

    assert {span for span in KEPT if by_rollup(span)} == {3600, EVER}


class Elsewhere:
    """Another session of the database, in a thread of its own."""

    def __init__(self, act):
        self._act, self._told, self._go = act, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            with transaction.atomic():
                self._act()
                self._told.set()
                self._go.wait(10)
                if not self._commits:
                    transaction.set_rollback(True)
        finally:
            connection.close()

    def __enter__(self):
        self._thread.start()
        assert self._told.wait(10)
        return self

    def end(self, *, commits):
        self._commits = commits
        self._go.set()
        self._thread.join()

    def __exit__(self, *_):
        if self._thread.is_alive():
            self.end(commits=False)


@pytest.mark.django_db(transaction=True)
def test_an_end_that_commits_late_counts_then(api):
    early, late = order(api)["id"], order(api)["id"]
    api.participants.answers = {}
    assert compensate(api, early) == 200
    drain()
    assert by_rollup(EVER)[EPOCH, "commandes", COMMANDES.version, "COMPLETED", _bin(late)] == 1

    long_ago = datetime.now(UTC) - timedelta(days=2)
    with Elsewhere(lambda: _end(early, long_ago)) as other:
        order(api)  # meanwhile others end, later than that one says of itself, and are counted
        drain()
        other.end(commits=True)
    drain()

    assert by_rollup(EVER) == by_sql(EVER)
    assert by_rollup(3600) == by_sql(3600)
    assert any(since < long_ago + timedelta(hours=1) for since, *_ in by_rollup(3600))


def _bin(saga_id):
    row = SagaRow.objects.get(id=saga_id)
    seconds = (row.finished_at - row.created_at).total_seconds()
    return sum(bound <= seconds for bound in BOUNDS)


def _end(saga_id, at):
    """What the checkpoint does that ends a saga, of a process whose clock stood still."""
    SagaRow.objects.filter(id=saga_id).update(
        status="COMPENSATED", state=COMMANDES.compensated_state, finished_at=at, wake_at=None, lease_expires_at=None
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("commits", [True, False])
def test_one_process_counts_at_a_time_and_one_that_dies_leaves_it_to_the_next(api, commits):
    order(api)
    with Elsewhere(roll_up) as other:
        assert roll_up() == 0
        other.end(commits=commits)

    assert roll_up() == (0 if commits else 1)
    assert by_rollup(EVER) == by_sql(EVER)


def written():
    """A text that is another one after every transaction that wrote anything."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_looking_for_endings_writes_nothing_while_there_are_none(api):
    order(api)
    drain()
    before = written()
    assert roll_up() == 0

    assert written() == before


# --- percentiles ------------------------------------------------------------------------------------------------------


def test_there_is_no_percentile_of_nothing():
    assert percentile({}, 0.5) is None
    assert percentile({3: 0}, 0.5) is None


def test_the_bounds_are_in_order():
    assert all(low < high for low, high in pairwise((0, *BOUNDS)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("part", [0.5, 0.95, 0.99])
def test_a_percentile_is_in_the_bin_of_the_exact_one(seed, part):
    chance = random.Random(seed)
    durations = sorted(chance.lognormvariate(0, 2) for _ in range(chance.randrange(1, 500)))
    bins = {}
    for seconds in durations:
        number = sum(bound <= seconds for bound in BOUNDS)
        bins[number] = bins.get(number, 0) + 1

    exact = durations[max(0, -int(-len(durations) * part // 1) - 1)]
    number = sum(bound <= exact for bound in BOUNDS)
    assert (0, *BOUNDS)[number] <= percentile(bins, part) <= (*BOUNDS, BOUNDS[-1])[number]


def test_a_percentile_is_between_the_bounds_as_if_evenly_spread():
    assert percentile({14: 100}, 0.5) == pytest.approx(1.25)
    assert percentile({14: 50, 16: 50}, 0.75) == pytest.approx(2.5)
    assert percentile({len(BOUNDS): 1}, 0.5) == BOUNDS[-1]
