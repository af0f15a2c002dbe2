"""The broker's proxy: everything goes through it, and what is sent while it is cut comes through afterwards."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from application.ports import Message, Verdict
from devstack import broker
from domain.exceptions import BrokerUnavailable
from infrastructure.pulsar_bus import PulsarPublisher, PulsarSubscriber
from tests.chaos.drivers import PROC
from tests.chaos.faults import Fault
from tests.chaos.messages import BrokerProxy
from tests.chaos.plan import Tally
from tests.chaos.system import Loop, lasting_ports

pytestmark = [
    pytest.mark.skipif(not (PROC / "net" / "tcp").exists(), reason="ports are chosen by what Linux says of its own"),
    # The proxy cuts connections on purpose: see test_chaos.py.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SECONDS = 30.0
LARGE = b"x" * 100_000


@pytest.fixture
def directory() -> Iterator[Path]:
    short = Path(tempfile.mkdtemp(prefix="proxy-"))
    yield short
    broker.kill(short)
    shutil.rmtree(short, ignore_errors=True)


def test_all_that_is_said_goes_through_the_proxy_also_after_it_was_cut(directory):
    loop, ports, heard, stop = Loop(), lasting_ports("broker", "broker_proxy"), [], threading.Event()
    broker.ensure_running(directory, ports["broker"])
    proxy = BrokerProxy(Tally([]), ports)
    loop.run(proxy.open())
    url = f"pulsar://127.0.0.1:{ports['broker_proxy']}"
    publisher = PulsarPublisher(url)

    def hear(message):
        heard.append(message.body)
        return Verdict.DONE

    listener = threading.Thread(target=PulsarSubscriber(url).consume, args=(["told"], "proxy", hear, stop))
    listener.start()
    try:
        publisher.publish([Message("told", "key", LARGE, {})])
        assert proxy.passed > len(LARGE)
        until(lambda: LARGE in heard)
        loop.run(proxy.cut(0.2))
        until(lambda: is_sent(publisher, b"after it"))
        until(lambda: b"after it" in heard)
    finally:
        stop.set()
        listener.join()
        publisher.close()
        loop.run(proxy.close())
        loop.close()
    assert proxy.tally.injected[Fault.BROKER_CUT] == 1


def is_sent(publisher, body):
    try:
        publisher.publish([Message("told", "key", body, {})])
    except BrokerUnavailable:
        return False
    return True


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
