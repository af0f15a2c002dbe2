"""What was counted comes out once, whoever writes it and when; counted in batches it is what it was one by one."""

import subprocess
import sys
import threading
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter

from infrastructure import tally
from infrastructure.tally import Histogram, Tally
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
BUCKETS = (0.01, 0.1, 1)
VALUES = (0.0, 0.005, 0.01, 0.0100001, 0.1, 0.5, 1.0, 3.0, 60.0)


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def orders(registry):
    return Counter("orders", "-", ["shop"], registry=registry)


@pytest.fixture
def times(registry):
    return Histogram("seconds", "-", ["shop"], buckets=BUCKETS, registry=registry)


def samples(metric):
    """By name and labels; without the times of creation, which the service does not tell."""
    found = (each for family in metric.collect() for each in family.samples if not each.name.endswith("_created"))
    return {(each.name, *each.labels.values()): each.value for each in found}


def test_values_in_one_batch_are_the_same_as_one_by_one(times):
    singly = prometheus_client.Histogram("seconds", "-", ["shop"], buckets=BUCKETS, registry=None)
    for value in VALUES:
        singly.labels("north").observe(value)
    counted = Tally()
    for value in VALUES:
        counted.observe(value, times, "north")
    counted.write()

    assert samples(times) == samples(singly)


def test_nothing_is_there_before_it_is_written_and_each_once_after(orders, times):
    counted = Tally()
    counted.count(orders, "north")
    counted.count(orders, "south")
    counted.count(orders, "north")
    counted.observe(0.5, times, "south")
    assert samples(orders) == {}

    counted.write()
    counted.write()

    assert samples(orders) == {("orders_total", "north"): 2, ("orders_total", "south"): 1}
    assert samples(times)["seconds_count", "south"] == 1


def test_what_threads_count_while_others_write_is_neither_lost_nor_doubled(orders, times):
    counted, done = Tally(), threading.Event()

    def count():
        for _ in range(20_000):
            counted.count(orders, "north")
            counted.observe(0.5, times, "north")

    def write():
        while not done.is_set():
            counted.write()

    counting, writing = ([threading.Thread(target=what) for _ in range(4)] for what in (count, write))
    for thread in (*counting, *writing):
        thread.start()
    for thread in counting:
        thread.join()
    done.set()
    for thread in writing:
        thread.join()
    counted.write()

    assert samples(orders)["orders_total", "north"] == 80_000
    assert samples(times)["seconds_count", "north"] == 80_000
    assert samples(times)["seconds_sum", "north"] == 40_000


@pytest.mark.parametrize("kind", ["counts", "values"])
def test_where_nobody_writes_it_does_not_grow_for_ever(orders, times, kind):
    counted = Tally()
    for _ in range(tally.ROOM + 1):
        if kind == "counts":
            counted.count(orders, "north")
        else:
            counted.observe(0.5, times, "north")

    name = (orders, "orders_total") if kind == "counts" else (times, "seconds_count")
    assert samples(name[0])[name[1], "north"] == tally.ROOM + 1


def test_once_started_it_writes_by_itself(orders, monkeypatch):
    monkeypatch.setattr(tally, "EVERY", 0.01)
    counted = Tally()
    counted.start()
    counted.start()
    counted.count(orders, "north")

    until(lambda: samples(orders).get(("orders_total", "north")) == 1, "it is written")
    assert len([thread for thread in threading.enumerate() if thread is counted._writer]) == 1


def test_what_cannot_be_written_is_logged_and_costs_nothing_else(orders, times, caplog):
    counted = Tally()
    counted.count(orders, "north")
    counted.count(orders, "too", "many", "labels")
    counted.count(orders, "south")
    counted.observe(0.5, times, "south")
    counted.write()

    assert samples(orders) == {("orders_total", "north"): 1, ("orders_total", "south"): 1}
    assert samples(times)["seconds_count", "south"] == 1
    assert [record.message for record in caplog.records] == ["some of what was counted could not be written"]


FORKING = """
import os
from prometheus_client import Counter
from infrastructure import tally
tally.EVERY = 3600
orders, counted = Counter("orders", "-", ["shop"]), tally.Tally()
counted.start()
counted.count(orders, "north")
def told():
    return [(each.labels["shop"], each.value) for each in orders.collect()[0].samples if each.name == "orders_total"]
with counted._writing:  # as if another thread were writing
    forked = os.fork()
    if forked == 0:
        counted.count(orders, "south")
        counted.write()
        os._exit(0 if told() == [("south", 1)] and counted._writer.is_alive() else 1)
    assert os.waitpid(forked, 0)[1] == 0
counted.write()
assert told() == [("north", 1)]
"""


def test_a_forked_process_counts_for_itself():
    """What waits is written by the one that counted it, and a lock that was held is not held there."""
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
