"""What was counted comes out once, whoever writes it and when; counted in batches it is what it was one by one."""

import threading

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter

from infrastructure import tally
from infrastructure.tally import Histogram, Tally

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
    return {(each.name, *each.labels.values()): each.value for family in metric.collect() for each in family.samples}


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


def test_once_started_it_writes_by_itself_also_after_a_failure(orders, monkeypatch, caplog):
    monkeypatch.setattr(tally, "EVERY", 0.01)
    counted, failing, written = Tally(), threading.Event(), threading.Event()
    write = counted.write

    def once_failing():
        if not failing.is_set():
            failing.set()
            raise OSError("no space left")
        write()
        written.set()

    monkeypatch.setattr(counted, "write", once_failing)
    counted.count(orders, "north")
    counted.start()
    counted.start()

    assert written.wait(30)
    assert samples(orders)["orders_total", "north"] == 1
    assert [record.message for record in caplog.records] == ["what was counted could not be written"]
    assert len([thread for thread in threading.enumerate() if thread is counted._writer]) == 1
