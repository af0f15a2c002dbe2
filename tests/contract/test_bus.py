"""The bus over a real broker: that of BROKER_URL, else the embedded one (which alone can be killed)."""

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pulsar
import pytest

from application.ports import Message, Verdict
from devstack import broker
from devstack.processes import free_port
from domain.exceptions import BrokerUnavailable, MessageRefused, TopicsUnavailable
from infrastructure import pulsar_bus
from infrastructure.pulsar_bus import PulsarPublisher, PulsarSubscriber, PulsarTail, dead_letter_topic

DEADLINE = 30.0


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    if os.environ.get("BROKER_URL"):
        yield os.environ["BROKER_URL"]
        return
    directory = tmp_path_factory.mktemp("broker")
    yield broker.ensure_running(directory)
    broker.stop(directory)


@pytest.fixture
def topic() -> str:
    return f"bus-{uuid4()}"


@pytest.fixture
def publisher(url) -> Iterator[PulsarPublisher]:
    made = PulsarPublisher(url)
    yield made
    made.close()


def message(topic: str, number: int, key: str = "k") -> Message:
    return Message(topic, key, str(number).encode(), {"n": str(number)})


def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.01)


class Consumer:
    """A subscriber at work in a thread of its own."""

    def __init__(self, subscriber, topics, subscription="s", verdict=lambda _message: Verdict.DONE) -> None:
        self.received: list[Message] = []
        self._verdict, self._stop = verdict, threading.Event()
        arguments = (topics, subscription, self._handle, self._stop)
        self._thread = threading.Thread(target=subscriber.consume, args=arguments)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def _handle(self, received: Message) -> Verdict:
        self.received.append(received)
        return self._verdict(received)

    def bodies(self) -> list[bytes]:
        return [received.body for received in self.received]

    def wait_for(self, count: int) -> list[bytes]:
        until(lambda: len(self.received) >= count, f"{count} messages")
        return self.bodies()


def quick(url: str, **options) -> PulsarSubscriber:
    return PulsarSubscriber(url, **{"delay": 0.1, "longest_delay": 0.2, **options})


def numbers(bodies: list[bytes]) -> list[int]:
    """In the order of their first arrival."""
    return list(dict.fromkeys(int(body) for body in bodies))


def test_a_message_arrives_as_it_is(url, topic, publisher):
    sent = [
        Message(topic, "clé", b"\x00\xff not json", {"ключ": "é"}),
        Message(topic, "", b"", {}),
        Message(topic, "k", b"x" * 200_000, {"a": "b"}),
    ]
    publisher.publish(sent)
    with Consumer(quick(url), [topic]) as consumer:
        consumer.wait_for(3)
    assert sorted(consumer.received, key=lambda each: len(each.body)) == sorted(sent, key=lambda each: len(each.body))


def test_messages_come_in_order_per_topic_and_key(url, topic, publisher):
    topics = [topic, f"{topic}-2"]
    sent = [message(topics[n % 2], n, f"k{n % 5}") for n in range(1200)]
    publisher.publish(sent)
    with Consumer(quick(url), topics) as consumer:
        consumer.wait_for(1200)
    assert {each.topic for each in consumer.received} == set(topics)
    for where in topics:
        for key in {each.key for each in sent}:
            there = [each for each in sent if (each.topic, each.key) == (where, key)]
            assert [each for each in consumer.received if (each.topic, each.key) == (where, key)] == there


def test_what_was_acknowledged_does_not_come_again_and_what_was_not_does(url, topic, publisher):
    publisher.publish([message(topic, 1)])
    publisher.publish([message(topic, 2)])  # apart: a batch is acknowledged when all of it is
    with Consumer(quick(url), [topic], verdict=lambda each: Verdict.DONE if each.body == b"1" else Verdict.LATER) as c:
        c.wait_for(2)
    with Consumer(quick(url), [topic]) as consumer:
        consumer.wait_for(1)
        publisher.publish([message(topic, 3)])
        assert numbers(consumer.wait_for(2)) == [2, 3]
    assert len(consumer.received) == 2


def test_each_subscription_gets_every_message(url, topic, publisher):
    publisher.publish([message(topic, 1)])
    with Consumer(quick(url), [topic], "one") as one, Consumer(quick(url), [topic], "two") as two:
        assert (one.wait_for(1), two.wait_for(1)) == ([b"1"], [b"1"])


def test_later_is_soon_and_nobody_of_its_key_overtakes(url, topic, publisher):
    seen: dict[bytes, int] = {}

    def verdict(each: Message) -> Verdict:
        seen[each.body] = seen.get(each.body, 0) + 1
        return Verdict.LATER if each.body == b"1" and seen[each.body] < 4 else Verdict.DONE

    publisher.publish([message(topic, 1, "a"), message(topic, 2, "a"), message(topic, 3, "b")])
    with Consumer(quick(url), [topic], verdict=verdict) as consumer:
        bodies = consumer.wait_for(6)
    assert [body for body in bodies if body != b"3"] == [b"1"] * 4 + [b"2"]
    assert bodies.index(b"3") < 3, "another key does not wait"


def test_what_fails_too_often_and_what_is_dead_go_to_the_dead_letters_with_their_story(url, topic, publisher):
    publisher.publish([message(topic, 1, "a"), message(topic, 2, "b"), message(topic, 3, "b")])
    verdicts = {b"2": Verdict.DEAD, b"3": Verdict.DONE}  # and none for the first: that raises
    with (
        Consumer(quick(url, redeliveries=3), [topic], verdict=lambda each: verdicts[each.body]) as consumer,
        Consumer(quick(url), [dead_letter_topic(topic, "s")], "people") as dead,
    ):
        dead.wait_for(2)
        until(lambda: b"3" in consumer.bodies(), "the message behind the dead one")
    assert consumer.bodies().count(b"1") == 4
    assert consumer.bodies().count(b"2") == 1
    stories = {each.body: each for each in dead.received}
    assert (stories[b"1"].key, stories[b"1"].properties["n"], stories[b"1"].properties["REASON"]) == (
        *("a", "1"),
        "given up",
    )
    assert stories[b"2"].properties["REASON"] == "refused"
    assert stories[b"2"].properties["REAL_TOPIC"] == f"persistent://public/default/{topic}"
    assert stories[b"2"].properties["REAL_SUBSCRIPTION"] == "s"
    with Consumer(quick(url), [topic]) as again:
        time.sleep(1)
    assert again.received == []


def test_what_comes_later_uses_up_no_attempt_and_what_nothing_can_be_taken_after_keeps_its_place(url, topic, publisher):
    seen: dict[bytes, int] = {}
    answers = {b"1": Verdict.LATER, b"2": Verdict.AWAY}

    def verdict(each: Message) -> Verdict:
        seen[each.body] = seen.get(each.body, 0) + 1
        return answers.get(each.body, Verdict.DONE) if seen[each.body] < 8 else Verdict.DONE

    with Consumer(quick(url, redeliveries=2), [topic], verdict=verdict) as consumer:
        publisher.publish([message(topic, 1, "a")])
        consumer.wait_for(1)
        publisher.publish([message(topic, 2, "b"), message(topic, 3, "c")])
        until(lambda: (seen.get(b"1"), seen.get(b"2"), seen.get(b"3")) == (8, 8, 1), "all of them")
    bodies = consumer.bodies()
    first = bodies.index(b"2")
    assert bodies[first : first + 8] == [b"2"] * 8, "nobody else is offered while nothing can be taken"
    assert not Dead(url, topic).letters()


@pytest.mark.parametrize(
    "poison",
    [("k", b"not json", {"p": "x" * 4_400_000}), ("k" * 4_400_000, b"not json", {}), ("k", b"x" * 4_900_000, {})],
    ids=["properties", "key", "body"],
)
def test_a_dead_message_of_any_size_is_put_away_with_its_story_and_stops_nobody(url, topic, publisher, poison):
    key, body, properties = poison
    send_as_others_do(url, topic, key, body, properties)
    verdict = lambda each: Verdict.DONE if each.body == b"1" else Verdict.DEAD  # noqa: E731
    with (
        Consumer(quick(url), [topic], verdict=verdict) as consumer,
        Consumer(quick(url), [dead_letter_topic(topic, "s")], "people") as dead,
    ):
        dead.wait_for(1)
        publisher.publish([message(topic, 1)])  # now: the embedded broker may not wake up for what came before
        assert [len(each) for each in consumer.wait_for(2)] == [len(body), 1]
    [letter] = dead.received
    assert letter.key == (key if len(key) == 1 else f"sha256:{sha256(key.encode()).hexdigest()}")
    assert body.startswith(letter.body) and letter.body
    assert letter.properties["CUT_FROM"] == str(len(body))
    assert letter.properties["ORIGIN_MESSAGE_ID"]
    assert (letter.properties["REASON"], "p" in letter.properties) == ("refused", False)


def send_as_others_do(url: str, topic: str, key: str, body: bytes, properties: dict[str, str]) -> None:
    client = pulsar.Client(url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, "/dev/null"))
    client.create_producer(topic, batching_enabled=False).send(body, partition_key=key, properties=properties)
    client.close()


def test_of_a_dead_message_that_the_broker_refuses_its_story_is_put_away(url, topic, publisher, monkeypatch):
    dead_letters = dead_letter_topic(topic, "s")
    forbidden(monkeypatch, dead_letters, Choosy)
    publisher.publish([message(topic, 1, "k" * 2000), message(topic, 2)])
    verdict = lambda each: Verdict.DONE if each.body == b"2" else Verdict.DEAD  # noqa: E731
    with (
        Consumer(quick(url), [topic], verdict=verdict) as consumer,
        Consumer(quick(url), [dead_letters], "people") as dead,
    ):
        consumer.wait_for(2)
        dead.wait_for(1)
    [letter] = dead.received
    assert (letter.body, letter.key[:7], letter.properties["CUT_FROM"]) == (b"", "sha256:", "1")
    assert letter.properties["REAL_TOPIC"] == f"persistent://public/default/{topic}"
    assert "n" not in letter.properties


class Unreadable:
    """What a client of another language may send."""

    def partition_key(self) -> str:
        return b"\xff".decode()

    def properties(self) -> dict[str, str]:
        return {"n": b"\xff".decode()}

    def data(self) -> bytes:
        return b"1"


def test_a_key_that_is_no_text_is_none():
    assert pulsar_bus._message("t", Unreadable()) == Message("t", "", b"1", {})


class Dead:
    """What is in the dead letters, after a moment."""

    def __init__(self, url: str, topic: str) -> None:
        self._url, self._topic = url, topic

    def letters(self) -> list[bytes]:
        with Consumer(quick(self._url), [dead_letter_topic(self._topic, "s")], "people") as dead:
            time.sleep(1)
        return dead.bodies()


def test_who_waits_holds_up_only_what_belongs_to_it(url, topic, publisher):
    publisher.publish([Message(topic, "same key", body, {}) for body in (b"a1", b"a2", b"b1")])
    later = {b"a1"}
    subscriber = quick(url, order=lambda each: each.body[:1].decode())
    with Consumer(
        subscriber, [topic], verdict=lambda each: Verdict.LATER if each.body in later else Verdict.DONE
    ) as consumer:
        until(lambda: b"b1" in consumer.bodies() and consumer.bodies().count(b"a1") > 2, "the other")
        assert b"a2" not in consumer.bodies()
        later.clear()
        until(lambda: b"a2" in consumer.bodies(), "what was behind it")


def test_of_too_many_that_wait_some_go_to_the_end_of_their_topic_and_new_ones_are_taken(
    url, topic, publisher, monkeypatch
):
    monkeypatch.setattr(pulsar_bus, "MOST_WAITING", 5)
    held, later = [message(topic, n, f"k{n}") for n in range(12)], threading.Event()
    publisher.publish([*held, message(topic, 99, "new")])
    with Consumer(
        quick(url),
        [topic],
        verdict=lambda each: Verdict.DONE if each.body == b"99" or later.is_set() else Verdict.LATER,
    ) as consumer:
        until(lambda: b"99" in consumer.bodies(), "the new one")
        later.set()
        began = len(consumer.received)
        until(lambda: {*consumer.bodies()[began:]} >= {each.body for each in held}, "all that waited")
    with Consumer(quick(url), [topic]) as again:
        time.sleep(1)
    assert again.received == []


def test_a_handler_that_raises_is_asked_again(url, topic, publisher):
    failures = [RuntimeError("first"), RuntimeError("second")]

    def verdict(_: Message) -> Verdict:
        if failures:
            raise failures.pop()
        return Verdict.DONE

    publisher.publish([message(topic, 1)])
    with Consumer(quick(url), [topic], verdict=verdict) as consumer:
        assert consumer.wait_for(3) == [b"1"] * 3


def test_a_topic_that_the_broker_does_not_give_is_told_of_and_silences_no_other(url, topic, publisher, caplog):
    failures: list[tuple[str, str]] = []
    subscriber = quick(url, observe=lambda *failure: failures.append(failure))
    with caplog.at_level("ERROR", "saga.bus"), Consumer(subscriber, ["not/one", topic, f"{topic}-2"]) as consumer:
        publisher.publish([message(topic, 1), message(f"{topic}-2", 2)])
        assert sorted(consumer.wait_for(2)) == [b"1", b"2"]
        until(lambda: failures, "the failure")
    assert set(failures) == {("not/one", "InvalidTopicName")}
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (told.topic, told.reason) == ("not/one", "Pulsar error: InvalidTopicName")


def test_a_topic_that_another_process_holds_is_waited_for_while_the_others_deliver(url, topic, publisher):
    with Consumer(quick(url), [topic]) as holder:
        publisher.publish([message(topic, 1)])
        holder.wait_for(1)
        with Consumer(quick(url, timeout=1), [topic, f"{topic}-2"]) as other:
            for number in range(2, 12):
                publisher.publish([message(topic, number), message(f"{topic}-2", number)])
                time.sleep(0.2)
            assert numbers(holder.wait_for(11)) == list(range(1, 12))
            assert numbers(other.wait_for(10)) == list(range(2, 12))


def test_looking_shows_what_comes_from_now_on_and_leaves_nothing_behind(url, topic, publisher):
    publisher.publish([message(topic, 1)])
    with Consumer(PulsarTail(url), [topic, f"{topic}-2"]) as looking:
        time.sleep(0.5)
        publisher.publish([message(topic, 2), message(f"{topic}-2", 3)])
        looking.wait_for(2)
    assert sorted(looking.bodies()) == [b"2", b"3"]
    with Consumer(quick(url), [topic]) as consumer:
        assert consumer.wait_for(2) == [b"1", b"2"]


def test_who_stands_by_takes_over(url, topic, publisher):
    publisher.publish([message(topic, 1)])
    standby = Consumer(quick(url, timeout=1), [topic])
    with Consumer(quick(url), [topic]) as first:
        first.wait_for(1)
        standby.__enter__()
        time.sleep(2.5)
        publisher.publish([message(topic, 2)])
        assert first.wait_for(2) == [b"1", b"2"]
        assert standby.received == []
    publisher.publish([message(topic, 3)])
    assert standby.wait_for(1)[-1] == b"3"
    standby.__exit__()


def test_a_message_that_no_broker_takes_is_refused_before_anything_is_sent(url, topic, publisher):
    with pytest.raises(MessageRefused, match=topic):
        publisher.publish([message(topic, 1), Message(topic, "k", b"x" * (pulsar_bus.LARGEST + 1), {})])
    publisher.publish([message(topic, 2)])
    with Consumer(quick(url), [topic]) as consumer:
        assert consumer.wait_for(1) == [b"2"]


def test_a_topic_that_cannot_be_one_is_refused_with_its_messages_only(url, topic, publisher):
    with pytest.raises(MessageRefused) as caught:
        publisher.publish([message(topic, 1), message("not/one", 2), message(topic, 3), message("not/one", 4)])
    assert list(caught.value.reasons) == [1, 3]
    publisher.publish([message(topic, 5)])
    with Consumer(quick(url), [topic]) as consumer:
        assert consumer.wait_for(1) == [b"5"]


class Stubborn:
    """A producer that the broker takes nothing from, or the first few messages only."""

    def __init__(self, real, result, most: int = 0) -> None:
        self._real, self._result, self._left = real, result, most

    def send_async(self, body, callback, **options) -> None:
        self._left -= 1
        if self._left >= 0:
            self._real.send_async(body, callback, **options)
        else:
            callback(self._result, None)

    def close(self) -> None:
        self._real.close()


class Choosy(Stubborn):
    """A producer of a broker that takes no body."""

    def __init__(self, real) -> None:
        super().__init__(real, pulsar.Result.MessageTooBig)

    def send_async(self, body, callback, **options) -> None:
        if body:
            callback(self._result, None)
        else:
            self._real.send_async(body, callback, **options)


def forbidden(monkeypatch, topic: str, how) -> None:
    create = pulsar.Client.create_producer

    def made(self, name, **options):
        if name != topic:
            return create(self, name, **options)
        if isinstance(how, Exception):
            raise how
        return how(create(self, name, **options))

    monkeypatch.setattr(pulsar.Client, "create_producer", made)


@pytest.mark.parametrize(
    "how",
    [
        pulsar.AuthorizationError("no permission"),
        pulsar.TopicNotFound("none is made by itself"),
        lambda real: Stubborn(real, pulsar.Result.ProducerBlockedQuotaExceededException),
        lambda real: Stubborn(real, pulsar.Result.TopicTerminated, most=2),
        lambda real: Stubborn(real, pulsar.Result.Timeout),
    ],
    ids=["permission", "missing", "quota", "in the middle", "silent"],
)
def test_a_topic_that_the_broker_takes_nothing_for_holds_up_its_own_messages_only(  # noqa: PLR0917
    url, topic, publisher, monkeypatch, caplog, how
):
    monkeypatch.setattr(pulsar_bus, "CHUNK", 4)
    shut = f"{topic}-shut"
    sent = [message((topic, shut)[n % 2], n) for n in range(12)]
    with monkeypatch.context() as there:
        forbidden(there, shut, how)
        for _ in range(2):
            with pytest.raises(TopicsUnavailable) as caught, caplog.at_level("ERROR", "saga.bus"):
                publisher.publish(sent)
            assert {sent[at].topic for at in caught.value.reasons} == {shut}
            missing = [sent[at] for at in sorted(caught.value.reasons)]
            assert missing == [each for each in sent if each.topic == shut][-len(missing) :]
    assert [record.topic for record in caplog.records if record.levelname == "ERROR"] == [shut], "told of once"
    publisher.publish(missing)
    with Consumer(quick(url), [topic, shut]) as consumer:
        until(lambda: set(numbers(consumer.bodies())) == set(range(12)), "all of them")
    for where in (topic, shut):
        there = numbers([each.body for each in consumer.received if each.topic == where])
        assert there == sorted(there)


def test_a_message_that_is_too_large_for_this_broker_is_refused_alone(topic, publisher, monkeypatch):
    monkeypatch.setattr(pulsar_bus, "CHUNK", 2)
    forbidden(monkeypatch, topic, lambda real: Stubborn(real, pulsar.Result.MessageTooBig, most=3))
    with pytest.raises(MessageRefused, match=topic) as caught:
        publisher.publish([message(topic, n) for n in range(6)])
    assert list(caught.value.reasons) == [3]


def test_a_message_that_is_too_large_for_the_dead_letters_goes_there_without_its_end(
    url, topic, publisher, monkeypatch
):
    publisher.publish([Message(topic, "k", b"x" * 5000, {}), message(topic, 2)])
    monkeypatch.setattr(pulsar_bus, "LARGEST", 5000)
    verdicts = {b"2": Verdict.DONE}
    with (
        Consumer(quick(url), [topic], verdict=lambda each: verdicts.get(each.body, Verdict.DEAD)) as consumer,
        Consumer(quick(url), [dead_letter_topic(topic, "s")], "people") as dead,
    ):
        consumer.wait_for(2)
        [body] = dead.wait_for(1)
    assert dead.received[0].properties["CUT_FROM"] == "5000"
    assert (0 < len(body) < 5000, set(body)) == (True, {ord("x")})


def test_many_threads_share_a_publisher(url, topic, publisher):
    def publish(key: str) -> None:
        for start in range(0, 100, 10):
            publisher.publish([message(topic, n, key) for n in range(start, start + 10)])

    threads = [threading.Thread(target=publish, args=(f"k{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    with Consumer(quick(url), [topic]) as consumer:
        until(lambda: len({(each.key, each.body) for each in consumer.received}) == 800, "all of them")
    for key in {each.key for each in consumer.received}:
        assert numbers([each.body for each in consumer.received if each.key == key]) == list(range(100))


class Killable:
    """An embedded broker of one test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self.url = self.start()

    def start(self) -> str:
        return broker.ensure_running(self.directory, self.port)

    def kill(self) -> None:
        broker.kill(self.directory)


@pytest.fixture
def killable(tmp_path) -> Iterator[Killable]:
    made = Killable(tmp_path)
    yield made
    broker.stop(tmp_path)


def test_while_the_broker_is_down_publish_says_so_in_its_time_and_works_again_afterwards(killable, topic):
    publisher = PulsarPublisher(killable.url, timeout=2)
    publisher.publish([message(topic, 1)])
    killable.kill()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=killable.url):
            publisher.publish([message(topic, 2)])
        assert time.monotonic() - began < 2 + pulsar_bus.SLACK + 1
    killable.start()
    publisher.publish([message(topic, 3)])
    with Consumer(quick(killable.url), [topic]) as consumer:
        assert [n for n in numbers(consumer.wait_for(2)) if n != 2] == [1, 3]
    publisher.close()


def test_a_broker_that_hangs_is_given_up_in_time_whatever_was_on_its_way(killable, topic):
    publisher = PulsarPublisher(killable.url, timeout=2)
    publisher.publish([message(topic, 0)])
    process = broker.pid(killable.directory)
    os.killpg(process, signal.SIGSTOP)
    failures: list[float] = []

    def publish() -> None:
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            publisher.publish([message(topic, n) for n in range(1000)])
        failures.append(time.monotonic() - began)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    finally:
        os.killpg(process, signal.SIGCONT)
    assert len(failures) == 4 and max(failures) < 2 + pulsar_bus.SLACK + 3
    publisher.publish([message(topic, 1)])
    publisher.close()


@pytest.mark.parametrize("consuming", ["meanwhile", "afterwards"])
def test_a_broker_that_is_killed_in_the_middle_loses_nothing_and_keeps_the_order(killable, topic, consuming):
    sent = [message(topic, n, f"k{n % 7}") for n in range(2000)]
    publisher = PulsarPublisher(killable.url, timeout=2)

    def publish_all() -> None:
        """As a relay does: from the outbox, each batch until it is acknowledged."""
        for start in range(0, len(sent), 100):
            while True:
                try:
                    publisher.publish(sent[start : start + 100])
                    break
                except BrokerUnavailable:
                    time.sleep(0.05)
            time.sleep(0.02)

    consumer = Consumer(quick(killable.url), [topic])
    thread = threading.Thread(target=publish_all)
    if consuming == "meanwhile":
        consumer.__enter__()
    thread.start()
    for _ in range(2):
        time.sleep(0.15)
        killable.kill()
        time.sleep(0.3)
        killable.start()
    thread.join(60)
    assert not thread.is_alive()
    if consuming == "afterwards":
        killable.kill()
        killable.start()
        consumer.__enter__()
    until(lambda: len(set(consumer.bodies())) == 2000, f"all messages of {len(set(consumer.bodies()))}", 60)
    consumer.__exit__()
    publisher.close()
    for key in {each.key for each in sent}:
        first = numbers([each.body for each in consumer.received if each.key == key])
        assert first == sorted(first), key


def test_a_subscriber_waits_for_a_broker_that_is_not_there_yet_and_goes_on_after_a_loss(tmp_path, topic, caplog):
    caplog.set_level("INFO", logger="saga.bus")
    port = free_port()
    url = f"pulsar://127.0.0.1:{port}"
    with Consumer(quick(url, timeout=1), [topic]) as consumer:
        time.sleep(2.5)
        broker.ensure_running(tmp_path, port)
        publisher = PulsarPublisher(url)
        publisher.publish([message(topic, 1)])
        consumer.wait_for(1)
        broker.kill(tmp_path)
        time.sleep(5)
        broker.ensure_running(tmp_path, port)
        began = time.monotonic()
        publisher.publish([message(topic, 2)])
        until(lambda: b"2" in consumer.bodies(), "the message after the loss")
        assert time.monotonic() - began < 10
        publisher.close()
    broker.stop(tmp_path)
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("subscriber")]
    well, ill = "subscriber: connected to the broker", "subscriber: no connection to the broker"
    assert told == [ill, well, ill, well]


def test_nothing_is_written_to_the_standard_output(killable, topic, capfd):
    publisher = PulsarPublisher(killable.url, timeout=1)
    publisher.publish([message(topic, 1)])
    killable.kill()
    with pytest.raises(BrokerUnavailable):
        publisher.publish([message(topic, 1)])
    publisher.close()
    assert capfd.readouterr() == ("", "")


def test_what_a_subscriber_keeps_for_later_has_a_limit(url, topic, publisher, monkeypatch):
    monkeypatch.setattr(pulsar_bus, "MOST_WAITING", 5)
    ready = threading.Event()
    publisher.publish([message(topic, n, f"k{n}") for n in range(40)])
    verdict = lambda _: Verdict.DONE if ready.is_set() else Verdict.LATER  # noqa: E731
    with Consumer(quick(url), [topic], verdict=verdict) as consumer:
        time.sleep(1)
        assert len(set(consumer.bodies())) == 5
        ready.set()
        until(lambda: len(set(consumer.bodies())) == 40, "all of them")


def test_the_embedded_broker_keeps_its_port_and_its_messages_and_tells_its_state(tmp_path, topic):
    url = broker.ensure_running(tmp_path)
    assert broker.ensure_running(tmp_path) == url
    publisher = PulsarPublisher(url)
    publisher.publish([message(topic, 1)])
    publisher.close()
    broker.stop(tmp_path)
    assert not broker.is_running(tmp_path)
    assert broker.ensure_running(tmp_path) == url
    with Consumer(quick(url), [topic]) as consumer:
        assert consumer.wait_for(1) == [b"1"]
    broker.stop(tmp_path)
    broker.stop(tmp_path)
    broker.stop(tmp_path / "never")


def server(directory: Path) -> int:
    """The process of the broker itself, its keeper's child."""
    keeper = broker.pid(directory)
    (child,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return int(child)


def test_the_embedded_broker_listens_on_this_machine_only(killable):
    process = server(killable.directory)
    listening = Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]
    sockets = {str(each.readlink()) for each in Path(f"/proc/{process}/fd").iterdir()}
    own = [line.split() for line in listening if f"socket:[{line.split()[9]}]" in sockets and line.split()[3] == "0A"]
    assert len(own) == 2
    assert {line[1].split(":")[0] for line in own} == {"0100007F"}


def test_the_embedded_broker_gives_the_messages_of_a_client_that_was_reset_to_the_next(killable, topic):
    publisher = PulsarPublisher(killable.url)
    with Consumer(quick(killable.url), [topic]) as consumer:
        publisher.publish([message(topic, 1)])
        consumer.wait_for(1)
        before = server(killable.directory)
        with socket.create_connection(("127.0.0.1", killable.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends RST
            client.sendall(b"\0\0")
        until(lambda: broker.is_running(killable.directory) and server(killable.directory) != before, "a new broker")
        publisher.publish([message(topic, 2)])
        until(lambda: b"2" in consumer.bodies(), "the message afterwards")
    publisher.close()
