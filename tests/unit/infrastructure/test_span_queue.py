"""Spans are sent in batches by a thread of their own; what is lost is counted, and holds nobody up."""

import os
import threading
import time
from collections import Counter

import pytest

from infrastructure.saga_spans import Span
from infrastructure.span_queue import SpanQueue

SPAN = Span("a" * 32, "n", "b" * 16, None, 1, 2, {})


class Collector:
    """Takes batches; or refuses them, fails, or does not answer before it is let go."""

    def __init__(self):
        self.batches, self.told = [], Counter()
        self.takes, self.fails = True, False
        self.asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def send(self, batch):
        self.asked.set()
        self.answers.wait()
        if self.fails:
            raise OSError("away")
        self.batches.append(len(batch))
        return self.takes

    def observe(self, result, count):
        self.told[result] += count


@pytest.fixture
def collector():
    found = Collector()
    yield found
    found.answers.set()


def queue(collector, **options):
    return SpanQueue(collector.send, collector.observe, **{"delay": 3600, **options})


def test_what_waits_is_sent_in_batches_when_the_process_ends(collector):
    spans = queue(collector, batch=4)
    spans.put([SPAN] * 3)
    spans.put([SPAN] * 7)
    spans.end()

    assert sum(collector.batches) == 10
    assert max(collector.batches) <= 4
    assert collector.told == {"sent": 10}


def test_a_full_batch_does_not_wait_for_its_time(collector):
    queue(collector, batch=2).put([SPAN] * 2)

    assert collector.asked.wait(10)


@pytest.mark.parametrize("way", ["takes", "fails"])
def test_what_the_collector_does_not_take_is_counted_and_said(collector, caplog, way):
    setattr(collector, way, not getattr(collector, way))
    spans = queue(collector)
    spans.put([SPAN] * 5)
    spans.end()

    assert collector.told == {"refused": 5}
    assert [record.spans for record in caplog.records if record.message == "spans are lost"] == [5]


def test_what_there_is_no_room_for_is_counted_and_nobody_waits(collector):
    collector.answers.clear()
    spans = queue(collector, room=4, batch=1)
    spans.put([SPAN])
    assert collector.asked.wait(10)
    spans.put([SPAN] * 10)
    collector.answers.set()
    spans.end()

    assert collector.told == {"sent": 5, "overflowed": 6}


def test_a_collector_that_does_not_answer_holds_up_no_end(collector):
    collector.answers.clear()
    spans = queue(collector, batch=2)
    spans.put([SPAN] * 5)
    assert collector.asked.wait(10)
    before = time.monotonic()
    spans.end(0.1)

    assert time.monotonic() - before < 5
    assert collector.told == {"left": 5}


def test_a_process_that_is_forked_sends_its_own_spans_and_not_its_parents(collector):
    spans = queue(collector)
    spans.put([SPAN] * 3)
    child = os.fork()
    if not child:
        spans.put([SPAN])
        spans.end()
        os._exit(sum(collector.batches))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    spans.end()

    assert collector.told == {"sent": 3}
