"""Messages over Apache Pulsar, with its official client.

The client's own threads do the sending and receiving; what a broker does is waited for here, for a bounded time. Its
own reconnecting waits longer and longer, up to a minute: whoever notices a loss here begins anew instead, so that work
goes on soon after the broker is back. Nothing is opened before it is used, so that a process may fork before that.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from heapq import heapify, heappop, heappush
from itertools import count, islice
from queue import Empty, Full, Queue
from time import monotonic
from typing import Any, Final

import pulsar

from application.ports import Message, Verdict
from application.trace_context import HEADER, accepted
from domain.exceptions import BrokerUnavailable, MessageRefused, TopicsUnavailable

logger = logging.getLogger("saga.bus")

CHUNK: Final = 500
"""Messages on their way at once. Fewer than a producer's queue holds, so that giving one never blocks, and a failure is
known before anything that has to come after it is given."""
BATCHING_MILLIS: Final = 2
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a message, properties included; a broker refuses more than 5 MB with its own headers."""
MOST_PROPERTIES: Final = 64 * 1024
"""Bytes of a sender's properties that stay with a dead letter that is too large."""
LONGEST_KEY: Final = 1024
"""Characters of a key that are kept and logged as they are."""
SLACK: Final = 2.0
"""Seconds that the client may take over its time before it is given up."""
PREFETCH: Final = 200
MOST_WAITING: Final = 10_000
MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
"""What a subscriber keeps for later; with more, those whose turn comes go back to the end of their topic."""
LONGEST_WAIT: Final = 5.0
"""Seconds until a message that came too early is offered again: well within the time that a step waits."""
OFFERS: Final = 200
"""A second, of messages that wait: with many of them each waits longer, and new ones are still taken."""
PATIENT: Final = 10
"""How often it is offered before it has to make room."""
MOST_DOUBLINGS: Final = 10
"""Of a pause: what waits for days must not end in a number that is none."""
LOOK: Final = 0.5
"""Seconds between two looks whether to stop."""
LOST_AFTER: Final = 3.0
"""Seconds without a connection after which a subscriber begins anew."""
REFUSED_AGAIN: Final = 30.0
"""Seconds until a topic is asked for again that the broker is there for, and does not give."""
_OF_THE_CONNECTION: Final = (
    pulsar.ConnectError, pulsar.NotConnected, pulsar.AlreadyClosed, pulsar.ReadError, pulsar.Interrupted,
    pulsar.AuthenticationError, pulsar.Timeout
)  # fmt: skip
"""What says nothing about a topic. Everything else does."""
_LOST: Final = frozenset(each.__name__ for each in _OF_THE_CONNECTION[:-1])
"""The same, of a message that was given away; there a timeout may be one topic's."""
DEAD_LETTERS: Final = "dead-letters"
"""A subscription of every dead-letter topic: without one a broker may forget what is published there."""


def dead_letter_topic(topic: str, subscription: str) -> str:
    """Where what this subscription cannot handle goes."""
    return f"{topic}-{subscription}-DLQ"


class PulsarPublisher:
    """Sends messages; safe to share between threads. Connects when first used."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._url, self._timeout = url, timeout
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._state = _State("publisher", url)
        self._shut: dict[str, _State] = {}

    def publish(self, messages: Sequence[Message]) -> None:
        """Send all, in order per topic and key; return when the broker has acknowledged every one.

        Raises BrokerUnavailable when that takes longer than the time (for each 500 of them): some may have been sent,
        and to send all of them again, in the same order, is right. Raises TopicsUnavailable with those of topics for
        which the broker takes nothing (no permission, no such topic, a quota): of each all that were not acknowledged
        and what follows them, so that the same holds for them; every other was sent. Raises MessageRefused with those
        that are too large for any broker, or whose topic cannot be one: none was sent; and with those that are too
        large for this one: to send the others again, in the same order, is right.
        """
        _require_sendable(messages)
        if not messages:
            return
        connection = self._connected()
        unsent: dict[int, str] = {}
        try:
            shut = connection.open(messages)
            rest = iter(enumerate(messages))
            while chunk := list(islice(rest, CHUNK)):
                going = [message for _, message in chunk if message.topic not in shut]
                # Whoever fails here has what follows of it left alone too, so that it keeps its order.
                failed, too_large = connection.send(going)
                if too_large:
                    places = [at for at, message in chunk if message.topic not in shut]
                    raise MessageRefused({places[place]: reason for place, reason in too_large.items()})
                shut |= failed
                unsent |= {at: shut[message.topic] for at, message in chunk if message.topic in shut}
        except (pulsar.PulsarException, _NotAcknowledged) as error:
            self._forget(connection)
            self._state.lost(error)
            raise BrokerUnavailable(f"The broker at {self._url} did not take a message: {_told(error)}") from error
        self._state.well()
        self._tell({message.topic for message in messages}, shut)
        if unsent:
            raise TopicsUnavailable(unsent)

    def _tell(self, topics: set[str], shut: Mapping[str, str]) -> None:
        """What changed for single topics."""
        for topic, reason in shut.items():
            self._shut.setdefault(topic, _State("publisher", self._url, topic=topic)).refused(reason)
        for topic in topics - set(shut):
            if open_again := self._shut.pop(topic, None):
                open_again.well()

    def close(self) -> None:
        """End the connection; what is published afterwards opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> "_Connection":
        with self._lock:
            if self._connection is None:
                self._connection = _Connection(self._url, self._timeout)
            return self._connection

    def _forget(self, connection: "_Connection") -> None:
        """The next publish begins anew. What other threads have on its way with this one fails as well."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
        connection.close()


class PulsarSubscriber:
    """Hands messages to a handler, one after another. Of several processes with one subscription the broker chooses the
    one that gets a topic's messages; another takes over when it goes (Failover).

    What the handler wants later is kept here, unacknowledged, and behind it what has the same `order`, by itself the
    same key: that holds over repetitions, and if this process ends the broker delivers them to the next. It may wait
    for as long as it takes; only where the handler raises time and again is a message given up. A batch, which holds
    messages of one key, is acknowledged when all of it is: of one that is interrupted, all come again.

    `observe(topic, reason)` is told of each failure to listen to a topic: bounded words.
    """

    def __init__(
        self,
        url: str,
        *,
        redeliveries: int = 30,
        delay: float = 1.0,
        longest_delay: float = 30.0,
        timeout: float = 5.0,
        order: Callable[[Message], str] = lambda message: message.key,
        observe: Callable[[str, str], None] = lambda _topic, _reason: None,
    ) -> None:
        self._order = order
        self._url, self._timeout, self._observe = url, timeout, observe
        self._redeliveries, self._delay, self._longest_delay = redeliveries, delay, longest_delay

    def consume(
        self,
        topics: Sequence[str],
        subscription: str,
        handle: Callable[[Message], Verdict],
        stop: threading.Event,
    ) -> None:
        """Handle messages until told to stop; begins with the oldest that the subscription has not acknowledged.

        A broker that is away is waited for, and so is a topic that it does not give, while the others deliver.
        Two subscriptions of another name each get every message.
        """
        received: Queue[_Received] = Queue(PREFETCH)
        ended = threading.Event()
        publisher = PulsarPublisher(self._url, self._timeout)
        graveyard = _Graveyard(self._url, self._timeout, subscription, publisher)
        about = {"subscription": subscription, "received": received, "ended": ended, "observe": self._observe}
        listeners = [_Listener(self._url, self._timeout, topic=topic, **about) for topic in topics]
        for listener in listeners:
            listener.start()
        try:
            self._deliver(received, handle, graveyard, stop)
        finally:
            ended.set()
            for listener in listeners:
                listener.join()
            publisher.close()

    def _deliver(
        self,
        received: "Queue[_Received]",
        handle: Callable[[Message], Verdict],
        graveyard: "_Graveyard",
        stop: threading.Event,
    ) -> None:
        """Until told to stop. What is kept for later is kept by the broker too."""
        deliveries, away = _Deliveries(self._order), 0
        while not stop.is_set():
            pause = deliveries.seconds_to_next(LOOK)
            if deliveries.full:
                stop.wait(pause)
            else:
                with suppress(Empty):
                    deliveries.take_in(received.get(timeout=pause) if pause else received.get_nowait())
            delivery = deliveries.take_due()
            if delivery is None:
                continue
            verdict, seconds = self._handled(delivery, handle, graveyard)
            if verdict is Verdict.AWAY:
                deliveries.put_first(delivery)
                stop.wait(self._pause(away, LONGEST_WAIT))  # no other could be taken either, and none is taken in
                away += 1
                continue
            away = 0
            in_the_way = deliveries.full and delivery.waits > PATIENT
            if verdict is Verdict.LATER and not (in_the_way and graveyard.requeue(delivery)):
                deliveries.put_back(delivery, max(seconds, len(deliveries) / OFFERS))
                continue
            # Crash before this: it comes again, and its handler bears that (of one that went to the end of its topic
            # both come). Crash after it: it is done. So it is where the connection was lost meanwhile, and with it the
            # right to acknowledge.
            with suppress(pulsar.PulsarException):
                delivery.consumer.acknowledge(delivery.raw)
            deliveries.settle(delivery)

    def _handled(
        self, delivery: "_Delivery", handle: Callable[[Message], Verdict], graveyard: "_Graveyard"
    ) -> tuple[Verdict, float]:
        """The handler's word, and for LATER in how many seconds. LATER too when it failed, or when what is dead cannot
        be put away now.
        """
        reason = "refused"
        try:
            verdict = handle(delivery.message)
        except Exception:
            logger.exception("a message's handler failed", extra=delivery.described())
            delivery.attempts += 1
            if delivery.attempts <= self._redeliveries:
                return Verdict.LATER, self._pause(delivery.attempts - 1, self._longest_delay)
            verdict, reason = Verdict.DEAD, "given up"
        if verdict is Verdict.LATER:
            delivery.waits += 1
            return verdict, self._pause(delivery.waits - 1, min(LONGEST_WAIT, self._longest_delay))
        if verdict is Verdict.DEAD:
            try:
                graveyard.bury(delivery, reason)
            except (BrokerUnavailable, MessageRefused):
                return Verdict.LATER, LOOK
        return verdict, 0.0

    def _pause(self, before: int, longest: float) -> float:
        """Seconds until the next try after so many before."""
        return min(self._delay * 2 ** min(before, MOST_DOUBLINGS), longest)


@dataclass(frozen=True, slots=True)
class _Received:
    """A message of a topic as its consumer got it; without one, that consumer is gone: what came of it comes again."""

    topic: str
    consumer: Any = None
    raw: Any = None


class _Listener(threading.Thread):
    """Receives the messages of one topic, over a connection of its own: what a broker refuses of this topic, however it
    does that, is nothing to the others (the embedded one drops the connection of whom it refuses).
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        *,
        topic: str,
        subscription: str,
        received: "Queue[_Received]",
        ended: threading.Event,
        observe: Callable[[str, str], None],
    ) -> None:
        super().__init__(name=f"listen-{topic}", daemon=True)
        self._url, self._timeout, self._topic, self._subscription = url, timeout, topic, subscription
        self._received, self._ended, self._observe = received, ended, observe
        self._state = _State("subscriber", url, subscription=subscription, topic=topic)

    def run(self) -> None:
        """Until it has ended; after every loss it begins anew."""
        while not self._ended.is_set():
            pause = 0.0
            try:
                with self._subscribed() as consumer:
                    self._state.well()
                    self._receive(consumer)
                if not self._ended.is_set():
                    self._state.lost("the connection was lost")
            except pulsar.ConsumerBusy as error:  # the embedded broker gives it to one process only
                pause = LOOK
                self._state.lost(error)
            except _OF_THE_CONNECTION as error:
                pause = LOOK
                self._failed(self._state.lost, error)
            except pulsar.PulsarException as error:
                pause = REFUSED_AGAIN
                self._failed(self._state.refused, error)
            self._ended.wait(pause)

    def _failed(self, tell: Callable[[object], None], error: Exception) -> None:
        tell(error)
        self._observe(self._topic, type(error).__name__)

    @contextmanager
    def _subscribed(self) -> Iterator[pulsar.Consumer]:
        client = _client(self._url, self._timeout)
        try:
            yield client.subscribe(
                self._topic,
                self._subscription,
                pulsar.ConsumerType.Failover,
                initial_position=pulsar.InitialPosition.Earliest,
                receiver_queue_size=PREFETCH,
            )
        finally:
            with suppress(pulsar.PulsarException):
                client.close()

    def _receive(self, consumer: pulsar.Consumer) -> None:
        """Until it has ended, or the connection is lost; what was received over it is then nobody's any more."""
        seen_connected = monotonic()
        while not self._ended.is_set() and monotonic() - seen_connected <= LOST_AFTER:
            with suppress(pulsar.Timeout):
                self._give(_Received(self._topic, consumer, consumer.receive(int(LOOK * 1000))))
            if consumer.is_connected():
                seen_connected = monotonic()
        self._give(_Received(self._topic))

    def _give(self, received: _Received) -> None:
        while not self._ended.is_set():
            with suppress(Full):
                self._received.put(received, timeout=LOOK)
                return


class PulsarTail:
    """A subscriber that only looks: every message from now on, with nothing left behind at the broker."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._url, self._timeout = url, timeout

    def consume(
        self,
        topics: Sequence[str],
        subscription: str,
        handle: Callable[[Message], Verdict],
        stop: threading.Event,
    ) -> None:
        """Show messages until told to stop; the handler's word changes nothing. A broker that is away is waited for."""
        state = _State("reader", self._url, topics=list(topics))
        while not stop.is_set():
            client = _client(self._url, self._timeout)
            try:
                readers = [
                    (topic, client.create_reader(topic, pulsar.MessageId.latest, reader_name=subscription))
                    for topic in topics
                ]
                state.well()
                _look(readers, handle, stop)
                state.lost("the connection was lost")
            except pulsar.PulsarException as error:
                state.lost(error)
                stop.wait(LOOK)
            finally:
                with suppress(pulsar.PulsarException):
                    client.close()


def _look(
    readers: Sequence[tuple[str, pulsar.Reader]], handle: Callable[[Message], Verdict], stop: threading.Event
) -> None:
    seen_connected = monotonic()
    while not stop.is_set() and monotonic() - seen_connected <= LOST_AFTER:
        for topic, reader in readers:
            with suppress(pulsar.Timeout):
                while not stop.is_set():
                    handle(_message(topic, reader.read_next(50)))
        if all(reader.is_connected() for _, reader in readers):
            seen_connected = monotonic()


class _Connection:
    """One client with its producers, one a topic."""

    def __init__(self, url: str, timeout: float) -> None:
        self._timeout = timeout
        self._client = _client(url, timeout)
        self._lock = threading.Lock()
        self._producers: dict[str, pulsar.Producer] = {}

    def open(self, messages: Sequence[Message]) -> dict[str, str]:
        """Make ready to send them; the topics that the broker does not give, and why.

        Raises PulsarException when it is the connection that fails, or MessageRefused for topics that no broker has.
        """
        impossible: dict[str, str] = {}
        shut: dict[str, str] = {}
        for topic in dict.fromkeys(message.topic for message in messages):
            try:
                self._producer(topic)
            except pulsar.InvalidTopicName:
                impossible[topic] = f"{topic!r} cannot be the name of a topic"
            except _OF_THE_CONNECTION:
                raise
            except pulsar.PulsarException as error:
                shut[topic] = _told(error)
        if impossible:
            raise MessageRefused({at: impossible[m.topic] for at, m in enumerate(messages) if m.topic in impossible})
        return shut

    def send(self, messages: Sequence[Message]) -> tuple[dict[str, str], dict[int, str]]:
        """Send, and wait for every acknowledgement; the topics of which some were not, and why, and so the places of
        those that are too large for this broker.

        Raises PulsarException or _NotAcknowledged when that says nothing about single topics.
        """
        producers = [self._producer(message.topic) for message in messages]
        tally = _Tally([message.topic for message in messages])
        for at, (message, producer) in enumerate(zip(messages, producers, strict=True)):
            producer.send_async(
                message.body,
                partial(tally.count, at),
                properties=dict(message.properties) or None,
                partition_key=message.key or None,
            )
        failed, too_large = tally.wait(self._timeout + SLACK)
        with self._lock:
            ended = [self._producers.pop(topic) for topic in failed if topic in self._producers]
        for producer in ended:  # and with each whatever is still on its way: it comes again, in its order
            with suppress(pulsar.PulsarException):
                producer.close()
        return failed, too_large

    def close(self) -> None:
        with suppress(pulsar.PulsarException):
            self._client.close()

    def _producer(self, topic: str) -> pulsar.Producer:
        with self._lock:
            if topic not in self._producers:
                self._producers[topic] = self._client.create_producer(
                    topic,
                    send_timeout_millis=int(self._timeout * 1000),
                    block_if_queue_full=True,
                    max_pending_messages=8 * CHUNK,
                    batching_enabled=True,
                    batching_type=pulsar.BatchingType.KeyBased,  # others may read with Key_Shared
                    batching_max_publish_delay_ms=BATCHING_MILLIS,
                )
            return self._producers[topic]


class _NotAcknowledged(Exception):
    """Not every message was acknowledged in the time."""


class _Tally:
    """Counts acknowledgements, which come on the client's threads."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics
        self._results: dict[int, str] = {}
        self._lost: str | None = None
        self._changed = threading.Condition()

    def count(self, at: int, result: Any, _message_id: Any) -> None:
        name = getattr(result, "name", str(result))
        with self._changed:
            self._results[at] = name
            if name in _LOST:
                self._lost = name
            if self._lost is not None or len(self._results) == len(self._topics):
                self._changed.notify()

    def wait(self, seconds: float) -> tuple[dict[str, str], dict[int, str]]:
        """The topics that failed by themselves, and the messages that are too large, and why.

        Raises _NotAcknowledged: the connection failed, or everything did.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._lost is not None or len(self._results) == len(self._topics), seconds
            )
            results = dict(self._results)
        if self._lost is not None:
            raise _NotAcknowledged(self._lost)
        late = f"not acknowledged after {seconds:.0f} s"
        failed: dict[str, str] = {}
        too_large = {
            at: f"It is larger than what the broker takes for {self._topics[at]}"
            for at, name in results.items()
            if name == pulsar.Result.MessageTooBig.name
        }
        for at, topic in enumerate(self._topics):
            if at not in too_large and (name := results.get(at, late)) != pulsar.Result.Ok.name:
                failed.setdefault(topic, name)
        slow = not done or pulsar.Result.Timeout.name in failed.values()
        if slow and failed.keys() == set(self._topics):  # nobody is there
            raise _NotAcknowledged(next(iter(failed.values())))
        return failed, too_large


class _Delivery:
    """A message in the handler's hands, or waiting for another try."""

    def __init__(self, received: _Received, order: Callable[[Message], str]) -> None:
        self.message = _message(received.topic, received.raw)
        self.raw, self.consumer = received.raw, received.consumer
        self.id = str(received.raw.message_id())
        self.size = _size(self.message)
        self.attempts = self.waits = 0
        # Messages without a key have no order.
        self.place = (self.message.topic, _short(order(self.message)) or f"\0{self.id}")

    def described(self) -> dict[str, Any]:
        trace = accepted(self.message.properties.get(HEADER))
        joined = {"trace_id": trace[3:35], "span_id": trace[36:52]} if trace else {}
        known = {"topic": self.message.topic, "key": _short(self.message.key), "message_id": self.id}
        return {**known, "attempts": self.attempts, **joined}


class _Deliveries:
    """What was received and is not settled: a queue for each key, so that nobody overtakes what waits."""

    def __init__(self, order: Callable[[Message], str]) -> None:
        self._order = order
        self._bytes = 0
        self._queues: dict[tuple[str, str], deque[_Delivery]] = {}
        self._due: list[tuple[float, int, tuple[str, str]]] = []  # a heap, with each queue once
        self._ticket = count()
        self._ids: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def full(self) -> bool:
        """Whether no more should be taken in."""
        return len(self._ids) >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES

    def take_in(self, received: _Received) -> None:
        """A message; the broker may repeat one that waits here. Or the word that a topic's come again."""
        if received.raw is None:
            self._forget(received.topic)
            return
        delivery = _Delivery(received, self._order)
        if (delivery.message.topic, delivery.id) in self._ids:
            return
        self._ids.add((delivery.message.topic, delivery.id))
        self._bytes += delivery.size
        queue = self._queues.setdefault(delivery.place, deque())
        queue.append(delivery)
        if len(queue) == 1:
            self._schedule(delivery, 0)

    def take_due(self) -> _Delivery | None:
        """One whose time has come, the first of its key; what follows it comes when it is settled."""
        if not self._due or self._due[0][0] > monotonic():
            return None
        return self._queues[heappop(self._due)[2]][0]

    def put_back(self, delivery: _Delivery, seconds: float) -> None:
        self._schedule(delivery, seconds)

    def put_first(self, delivery: _Delivery) -> None:
        heappush(self._due, (0.0, next(self._ticket), delivery.place))

    def settle(self, delivery: _Delivery) -> None:
        self._ids.discard((delivery.message.topic, delivery.id))
        self._bytes -= delivery.size
        queue = self._queues[delivery.place]
        queue.popleft()
        if queue:
            self._schedule(queue[0], 0)
        else:
            del self._queues[delivery.place]

    def seconds_to_next(self, most: float) -> float:
        return min(max(self._due[0][0] - monotonic(), 0.0), most) if self._due else most

    def _forget(self, topic: str) -> None:
        """Whoever has the topic next gets them; nothing of it is in a handler's hands now."""
        self._queues = {place: queue for place, queue in self._queues.items() if place[0] != topic}
        self._due = [entry for entry in self._due if entry[2][0] != topic]
        heapify(self._due)
        self._ids = {known for known in self._ids if known[0] != topic}
        self._bytes = sum(delivery.size for queue in self._queues.values() for delivery in queue)

    def _schedule(self, delivery: _Delivery, seconds: float) -> None:
        heappush(self._due, (monotonic() + seconds, next(self._ticket), delivery.place))


class _Graveyard:
    """Puts what cannot be handled on the dead-letter topic, with where it came from and why."""

    def __init__(self, url: str, timeout: float, subscription: str, publisher: PulsarPublisher) -> None:
        self._url, self._timeout, self._subscription, self._publisher = url, timeout, subscription, publisher
        self._opened: set[str] = set()

    def bury(self, delivery: _Delivery, reason: str) -> None:
        """Raises BrokerUnavailable when it is not certain to be there.

        A broker that takes less than others gets its story only; where it refuses even that, MessageRefused.
        """
        message = delivery.message
        topic = dead_letter_topic(message.topic, self._subscription)
        self._open(topic)
        added = {
            "REAL_TOPIC": _full_name(message.topic),
            "REAL_SUBSCRIPTION": self._subscription,
            "ORIGIN_MESSAGE_ID": delivery.id,
            "REASON": reason,
        }
        try:
            self._publisher.publish([_cut(replace(message, topic=topic), added)])
        except MessageRefused:
            self._publisher.publish([_story(replace(message, topic=topic), added)])
        logger.warning("a message went to the dead letters", extra={**delivery.described(), "reason": reason})

    def requeue(self, delivery: _Delivery) -> bool:
        """Send it to the end of its own topic, behind what is there: too many wait here. Whether it is there now."""
        try:
            self._publisher.publish([delivery.message])
        except (BrokerUnavailable, MessageRefused):
            return False
        return True

    def _open(self, topic: str) -> None:
        if topic in self._opened:
            return
        client = _client(self._url, self._timeout)
        try:
            client.subscribe(
                topic, DEAD_LETTERS, pulsar.ConsumerType.Shared, initial_position=pulsar.InitialPosition.Earliest
            )
        except pulsar.ConsumerBusy:  # somebody reads it: then it is there
            pass
        except pulsar.PulsarException as error:
            raise BrokerUnavailable(f"The broker did not make {topic}: {_told(error)}") from error
        finally:
            with suppress(pulsar.PulsarException):
                client.close()
        self._opened.add(topic)


class _State:
    """Whether the broker is there, as far as one user of it knows; says so in the log when that changes."""

    def __init__(self, who: str, url: str, **facts: Any) -> None:
        self._who, self._facts = who, {"broker": url, **facts}
        self._known = ""

    def well(self) -> None:
        if self._changes("well"):
            logger.info("%s: connected to the broker", self._who, extra=self._facts)

    def lost(self, reason: object) -> None:
        if self._changes("lost"):
            logger.warning("%s: no connection to the broker", self._who, extra={**self._facts, "reason": _told(reason)})

    def refused(self, reason: object) -> None:
        """The broker is there, and does not give what was asked of it."""
        if self._changes("refused"):
            more = {**self._facts, "reason": _told(reason)}
            logger.error("%s: the broker does not give the topic", self._who, extra=more)

    def _changes(self, now: str) -> bool:
        before, self._known = self._known, now
        return now != before


def _client(url: str, timeout: float) -> pulsar.Client:
    """The client would write to standard output; what matters of what it knows is logged here."""
    return pulsar.Client(
        url,
        operation_timeout_seconds=max(1, round(timeout)),
        connection_timeout_ms=int(timeout * 1000),
        logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, "/dev/null"),
        stats_interval_in_seconds=0,
    )


def _require_sendable(messages: Sequence[Message]) -> None:
    """Raises MessageRefused."""
    sizes = ((at, message, _size(message)) for at, message in enumerate(messages))
    too_large = {
        at: f"A message for {message.topic} has {size} bytes, {LARGEST} is the most"
        for at, message, size in sizes
        if size > LARGEST
    }
    if too_large:
        raise MessageRefused(too_large)


def _size(message: Message) -> int:
    """What it takes on its way: a batch says its key once more."""
    return len(message.body) + 2 * len(message.key.encode()) + _size_of(message.properties)


def _size_of(properties: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in properties.items())


def _cut(message: Message, added: Mapping[str, str]) -> Message:
    """A message with what is added. What is too large with that goes with a digest in place of a long key, without
    properties of its own that are too many, and without its end, and says of how many bytes it was.
    """
    whole = replace(message, properties={**message.properties, **added})
    if _size(whole) <= LARGEST:
        return whole
    story = _story(message, added)
    kept, room = {}, MOST_PROPERTIES
    for name, value in message.properties.items():
        room -= _size_of({name: value})
        if room < 0:
            break
        kept[name] = value
    cut = replace(story, properties={**kept, **story.properties})
    return replace(cut, body=message.body[: LARGEST - _size(cut)])


def _story(message: Message, added: Mapping[str, str]) -> Message:
    """What is left of a message where it came from and why can still be said, and nothing else of it."""
    properties = {**added, "CUT_FROM": str(len(message.body))}
    return replace(message, key=_short(message.key), body=b"", properties=properties)


def _short(key: str) -> str:
    """A key, or a digest of one that is long."""
    return key if len(key) <= LONGEST_KEY else f"sha256:{sha256(key.encode()).hexdigest()}"


def _message(topic: str, raw: pulsar.Message) -> Message:
    """What was received. A key or properties that are no UTF-8 cannot be read, and are none."""
    key, properties = "", dict[str, str]()
    with suppress(UnicodeDecodeError):
        key = raw.partition_key()
    with suppress(UnicodeDecodeError):
        properties = dict(raw.properties())
    return Message(topic=topic, key=key, body=raw.data(), properties=properties)


def _full_name(topic: str) -> str:
    if "://" in topic:
        return topic
    return f"persistent://{topic}" if topic.count("/") == 2 else f"persistent://public/default/{topic}"  # noqa: PLR2004


def _told(reason: object) -> str:
    return str(reason) or type(reason).__name__
