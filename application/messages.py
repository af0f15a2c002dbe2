"""Messages in and out: the outbox emptied in order, and what arrives given to the saga that waits for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from logging import getLogger
from time import monotonic
from typing import Any
from uuid import UUID

from application.correlation import of_message
from application.ports import IdempotentRequest, Message, Outbox, Publisher, Verdict
from application.saga_orchestrator import SagaOrchestrator, StartRequest
from application.strict_json import decoded
from application.trace_context import HEADER, accepted
from domain.entities import Saga
from domain.exceptions import (
    ContentRefused,
    IdempotencyConflict,
    InputInvalid,
    LeaseLost,
    MessageRefused,
    NotAllowed,
    SagaNotFound,
    StoreUnavailable,
    TemplateError,
    TopicsUnavailable,
    WorkflowUnknown,
)
from domain.sentences import said
from domain.templates import render

logger = getLogger("saga")
BATCH = 500
SHUT = 5.0
"""Seconds for which a topic is left alone that the broker does not take."""
MEETINGS = 5
"""How often somebody else may be faster before the message is to come again."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Sends what checkpoints have put into the outbox: at least once, and each saga's in order on each topic.

    What is for a topic that the broker does not take now waits, in its order; it is asked for again after a while.
    """

    outbox: Outbox
    publisher: Publisher
    clock: Callable[[], float] = monotonic
    shut: dict[str, float] = field(default_factory=dict)
    """Topics that the broker does not take, and until when they are left alone. Forgotten with the process: then they
    are tried at once."""

    def send_some(self) -> int:
        """Send the oldest messages; how many were looked at. One that no broker would take is put aside, the others go
        out at the next turn. Raises BrokerUnavailable, with all of them still in the outbox; not where
        the broker takes only some topics' messages: the others wait there.
        """
        if not self.outbox.lead():
            return 0
        for topic in [topic for topic, until in self.shut.items() if until <= self.clock()]:
            del self.shut[topic]
        waiting = self.outbox.waiting(BATCH, self.shut)
        if waiting:
            # Crash between the two: they are sent again, and whoever reads them drops what it has seen, by its key.
            try:
                self.publisher.publish([each.message for each in waiting])
                self.outbox.sent(waiting)
            except TopicsUnavailable as partly:
                # Crash before this: all are sent again, as above. Crash after it: what was not sent is still there.
                # Nothing that comes later for such a topic goes out before it, since the topic is left alone.
                self.outbox.sent([each for place, each in enumerate(waiting) if place not in partly.reasons])
                until = self.clock() + SHUT
                self.shut.update({waiting[place].message.topic: until for place in partly.reasons})
            except MessageRefused as refused:
                # Crash before one is put aside: it is refused again. Crash after it: it is put aside, and that one row
                # is what its saga, the console and the metrics show, so that none of them can miss it.
                for place, reason in refused.reasons.items():
                    self.outbox.put_aside(waiting[place], reason)
        return len(waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A message that starts a saga: `input` is a template over `${message}`; the message's key, or its `id` where it
    has none, makes it the same saga when it comes again. `when`, a `${...}` over the same, says which messages do.

    It is known by what it says, not by its place among others: two start two sagas, and one that is changed is another.
    """

    topic: str
    workflow: str
    input: Any
    when: str | None = None

    def applies(self, body: Any) -> bool:
        """Whether this message starts one; not where `when` finds nothing. Raises TemplateError."""
        wanted = self.when is None or render(self.when, {"message": body})
        if not isinstance(wanted, bool | None):
            raise TemplateError(f"when {self.when} is a {type(wanted).__name__}, not true or false")
        return wanted is True

    def once(self, key: Any) -> str:
        """The idempotency key of the saga that it starts for a message of this key: as long as any other."""
        said = json.dumps([self.topic, self.workflow, self.when, self.input, key], sort_keys=True)
        return sha256(said.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Inbox:
    """Gives messages to sagas, and starts those that a message starts.

    `count(topic, result)` is told what became of each: bounded words.
    """

    engine: SagaOrchestrator
    count: Callable[[str, str], None]
    triggers: tuple[Trigger, ...] = ()

    def handle(self, message: Message) -> Verdict:
        """Take one message in; what came before, comes late or concerns nobody changes nothing."""
        result = "failed"
        try:
            result, verdict = self._taken(message)
        finally:
            self.count(message.topic, result)
        return verdict

    def _taken(self, message: Message) -> tuple[str, Verdict]:
        """It is offered to its saga, and starts what it starts. A crash in between, or a saga that cannot take it now:
        it comes again, its saga drops what it has, and what was started is found by its key.
        """
        triggers = [trigger for trigger in self.triggers if trigger.topic == message.topic]
        try:
            body = decoded(message.body)
        except ValueError:
            return "malformed", Verdict.DEAD
        offered = self._offered(message.topic, body)
        started = None if offered == "store_away" else self._started(message, body, triggers)
        return _summed(offered, started, alone=not triggers)

    def _offered(self, topic: str, body: Any) -> str:
        """What its saga does with it; `malformed` is a message that is for none."""
        try:
            saga_id = UUID(body["saga_id"])
            assert isinstance(body["type"], str)
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
            return "malformed"
        try:
            return offer(self.engine, saga_id, body, topic)
        except SagaNotFound:
            return "unknown_saga"
        except ContentRefused:
            return "malformed"
        except StoreUnavailable:
            return "store_away"
        except (NotAllowed, LeaseLost):
            return "not_now"

    def _started(self, message: Message, body: Any, triggers: list[Trigger]) -> str | None:
        """A saga for each trigger that applies, `repeated` where all of them were there; None when none applies."""
        started, key = None, _key(message, body)
        for trigger in triggers:
            try:
                if trigger.applies(body):
                    if key is None:
                        return "malformed"
                    _, new = self.engine.start_once(_request(message, body, trigger, key))
                    started = "started" if new else started or "repeated"
            except StoreUnavailable:
                return "store_away"
            except (InputInvalid, TemplateError, IdempotencyConflict, WorkflowUnknown, ContentRefused) as error:
                more = {"topic": trigger.topic, "workflow": trigger.workflow, "reason": str(error)}
                logger.warning("a message cannot start its saga", extra=more)
                return "refused"
        return started


def _summed(offered: str, started: str | None, *, alone: bool) -> tuple[str, Verdict]:
    """What became of a message in one word, and what follows; `alone`: its topic only answers sagas."""
    if "store_away" in {offered, started}:
        return "store_away", Verdict.AWAY
    if offered == "not_now":
        return "started" if started == "started" else offered, Verdict.LATER
    if started in {"malformed", "refused"}:
        return started, Verdict.DEAD
    if started:
        both = {"started": "taken_and_started", "repeated": "taken"}
        return both[started] if offered == "taken" else started, Verdict.DONE
    if offered == "malformed":
        return (offered, Verdict.DEAD) if alone else ("not_concerned", Verdict.DONE)
    return offered, Verdict.DONE


def _key(message: Message, body: Any) -> str | int | float | None:
    """What makes a message the same when it comes again: its key, or else its `id`, a text or a number that says which.

    None where it has neither: it could not be told from any other.
    """
    given = body.get("id") if isinstance(body, dict) else None
    usable = isinstance(given, str | int | float) and not isinstance(given, bool) and given != ""
    return message.key or (given if usable else None)


def _request(message: Message, body: Any, trigger: Trigger, key: str | float) -> StartRequest:
    return StartRequest(
        workflow=trigger.workflow,
        input=render(trigger.input, {"message": body}),
        correlation_id=of_message(message.topic, str(key), message.properties.get("correlation_id")),
        actor=f"message:{message.topic}",
        tenant=f"message:{message.topic}",
        idempotency=IdempotentRequest(trigger.once(key), sha256(message.body).digest()),
        traceparent=accepted(message.properties.get(HEADER)),
        wait=0,
    )


def order_of(message: Message) -> str:
    """What messages keep their order among each other: those of a saga, or else of a key. One that is too early for its
    saga then holds up no other saga that its sender puts under the same key.
    """
    try:
        saga_id = decoded(message.body)["saga_id"]
    except (ValueError, KeyError, TypeError, IndexError):
        return message.key
    return saga_id if isinstance(saga_id, str) else message.key


def signal(engine: SagaOrchestrator, saga_id: UUID, body: Mapping[str, Any], topic: str | None = None) -> bool:
    """Give a message to a saga; whether it takes it. See `offer`."""
    return offer(engine, saga_id, body, topic) == "taken"


def offer(engine: SagaOrchestrator, saga_id: UUID, body: Mapping[str, Any], topic: str | None = None) -> str:
    """What a saga does with a message: it is `taken`; `not_awaited`, a duplicate or too late; or it `contradicts` what
    its participant has said before, and then changes nothing either.

    Raises SagaNotFound; NotAllowed while it is paused, and when a message of the broker was faster than the checkpoint
    after which it is waited for; LeaseLost when others were faster time and again. One that is given by hand is an
    operation: see `operations.giving`.
    """
    for _ in range(MEETINGS):
        now = engine.clock.now()
        saga = engine.store.look(saga_id).saga
        events = saga.signal(body, now, topic)
        if not events:
            if topic is not None and saga.awaits_later(body, topic):
                raise NotAllowed("The saga does not wait for this message yet. Deliver it again.")
            return _left(saga, body, topic)
        try:
            # Crash before this write: the message is not acknowledged, and comes again. Crash after it: it comes
            # again too, and the saga no longer waits for it; the saga itself is due for whoever claims it.
            engine.store.intervene(saga, events, now)
        except LeaseLost:
            continue
        engine.observe(saga, events)
        return "taken"
    raise LeaseLost(said("Saga %(saga)s moved while it was given a message.", saga=saga_id))


def _left(saga: Saga, body: Mapping[str, Any], topic: str | None) -> str:
    if topic is None or not saga.contradicts(body, topic):
        return "not_awaited"
    more = {"saga_id": str(saga.id), "workflow": saga.definition.name, "topic": topic, "type": body["type"]}
    logger.warning("a message says that a step was done which its participant had refused", extra=more)
    return "contradicts"
