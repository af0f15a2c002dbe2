"""The use cases: start a saga, drive it, wait for it.

A driver repeats: take the due calls, make them outside any transaction, record the answers, checkpoint.
It owns the saga by a lease, and every write is fenced by the lease's token and the saga's `seq`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from application.correlation import RULE, acceptable
from application.ports import (
    Clock,
    Definitions,
    Existing,
    IdempotentRequest,
    Lease,
    Observer,
    Participants,
    SagaStore,
)
from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import SagaEvent
from domain.exceptions import (
    BrokerMissing,
    IdempotencyConflict,
    InputInvalid,
    LeaseLost,
    SagaNotFound,
    StoreUnavailable,
)
from domain.outcomes import Postponed
from domain.progress import Origin
from domain.sentences import said

SHORT_WAIT = 2.0
"""Seconds until a retry that a request waits for itself; a longer wait goes to the worker, and frees the thread."""
LEASE = 20.0
"""Seconds that a driver may be silent before another takes its sagas over. Well under a saga's own time, so that one
whose driver died still goes through; and more than twice the longest silence of a driver that lives, because a lease
is renewed when half of it is gone."""
OVERHEAD = 2.0
"""Seconds to connect to a participant, beside a call's own timeout."""
ANSWER_WITHIN = 32.0
"""Seconds in which a start is answered, one way or the other: the gateway waits 35, and what the last call said must
still be stored, over a new connection to the database if need be (three seconds)."""
POLL = 0.1
"""Seconds between looks at a saga that another driver runs."""


def lease_for(definitions: Iterable[SagaDefinition]) -> float:
    """Seconds of a lease that outlives every call of these workflows, and the wait before it."""
    longest = max((definition.longest_call() for definition in definitions), default=0.0)
    return max(LEASE, 2 * (longest + OVERHEAD + SHORT_WAIT))


def wait_limit(definition: SagaDefinition) -> float:
    """Seconds that a client can wait for such a saga: a call that begins at their end must not outlast the gateway.

    Bounding the wait, rather than not beginning a call that may be late, keeps one rule for the driver: what is due
    goes out. A call's time is the same for nearly every call of a workflow, so both would stop at the same moment.
    """
    return max(0.0, ANSWER_WITHIN - OVERHEAD - definition.longest_call())


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What a client asks for. `wait`: how many seconds it wants to wait for the end; 0 answers at once.

    It waits no longer than `wait_limit` of the workflow.
    """

    workflow: str
    input: Mapping[str, Any]
    correlation_id: str
    version: int | None = None
    actor: str | None = None
    tenant: str = ""
    traceparent: str | None = None
    idempotency: IdempotentRequest | None = None
    wait: float = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaOrchestrator:
    """The engine with its dependencies. It knows no workflow and no transport."""

    store: SagaStore
    participants: Participants
    definitions: Definitions
    clock: Clock
    observe: Observer
    new_id: Callable[[], UUID]
    owner: str
    saga_timeout: float = 30.0
    max_retries: int = 3
    lease_seconds: float = LEASE
    broker: bool = True
    """Whether messages can be sent and heard."""

    def start(self, request: StartRequest) -> Saga:
        """Start a saga and drive it while its client waits; the same saga again for a repeated idempotency key.

        Raises WorkflowUnknown, BrokerMissing and InputInvalid, having stored nothing, and IdempotencyConflict when the
        key was used for another request.
        """
        return self.start_once(request)[0]

    def start_once(self, request: StartRequest) -> tuple[Saga, bool]:
        """See `start`; and whether the saga is a new one."""
        if not acceptable(request.correlation_id):  # no call could carry it
            raise InputInvalid({"correlation_id": [RULE]})
        definition, now = self._definition(request), self.clock.now()
        until = now + timedelta(seconds=min(request.wait, wait_limit(definition)))
        try:
            self._require_broker(definition)
            self.definitions.check_input(definition, request.input)
        except (BrokerMissing, InputInvalid):
            earlier = self._started_before(request)
            if earlier is None:
                raise
            return self._repeat(earlier, request, until), False
        saga, events = Saga.start(definition, self._origin(definition, request, now), request.actor)
        lease = self.new_lease(now, definition) if until > now else None
        # Crash before this write: nothing exists, no call was made. Crash after it: the saga is claimed once the
        # lease has expired (at once without a lease) and its first call goes out then, with the same key.
        existing = self.store.create(saga, events, lease, request.idempotency)
        if existing:
            return self._repeat(existing, request, until), False
        self.observe(saga, events)
        return self._drive_or_follow(saga, lease, until) if lease else saga, True

    def advance(
        self,
        saga: Saga,
        lease: Lease,
        until: datetime,
        longest_wait: float = SHORT_WAIT,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Drive a saga that this lease owns until it rests, until `until`, or until it must wait for too long.

        One that `stopping` interrupts is handed back after the call that is under way.

        Raises LeaseLost when another driver took it over: whatever this one did after its last checkpoint
        was done under the same idempotency keys, so the other driver's calls repeat and do not add.
        """
        lease = self._long_enough(saga, lease)
        while not saga.resting:
            now = self.clock.now()
            lease = self.checkpoint(saga, saga.expire(now), lease, now)
            if saga.driverless:
                break
            tasks, freed = saga.next_tasks(now), False
            for task, reply in self.participants.call_all(tasks):
                answered_at = self.clock.now()
                if isinstance(reply.outcome, Postponed):
                    events = saga.postpone(reply.outcome, answered_at, of=task)
                    freed = True  # a participant that should not be called must not hold this thread either
                else:
                    events = saga.record(reply.outcome, answered_at, of=task, facts=reply.facts)
                # Crash before this checkpoint: the answer is lost, the call is still stored as due and is repeated
                # with the same key. Crash after it: the calls that it made due are stored, and go out from there.
                lease = self.checkpoint(saga, events, lease, answered_at)
            if saga.driverless:
                return  # the checkpoint has given the lease up
            if freed or stopping() or not self._goes_on(saga, until, longest_wait):
                break
        if not saga.resting:
            self.store.hand_over(saga, lease)

    def checkpoint(self, saga: Saga, events: Sequence[SagaEvent], lease: Lease, now: datetime) -> Lease:
        """Store what happened, and tell the observer; gives the lease, renewed when little of it was left."""
        if not events:
            return lease
        lease = lease.renewed(now)
        self.store.checkpoint(saga, events, lease)
        self.observe(saga, events)
        return lease

    def follow(self, saga_id: UUID, until: datetime) -> Saga:
        """The saga once it rests, or as it is at `until`, while another driver runs it."""
        while True:
            saga = self.store.load(saga_id)
            if saga.resting or self.clock.now() >= until:
                return saga
            self.clock.sleep(POLL)

    def new_lease(self, now: datetime, definition: SagaDefinition | None = None) -> Lease:
        """A lease that nobody else has, for a saga of this workflow or for sagas that are not known yet."""
        seconds = self._lease_of(definition) if definition else self.lease_seconds
        return Lease(token=uuid4(), owner=self.owner, expires_at=now + timedelta(seconds=seconds), seconds=seconds)

    def _lease_of(self, definition: SagaDefinition) -> float:
        """Seconds of a lease of such a saga: the process's own, unless a call of this workflow may outlast that."""
        needed = lease_for([definition])
        return max(self.lease_seconds, needed) if needed > LEASE else self.lease_seconds

    def _long_enough(self, saga: Saga, lease: Lease) -> Lease:
        """A lease that outlives the calls of this saga too: its workflow may be younger than this process."""
        seconds = self._lease_of(saga.definition)
        if saga.driverless or lease.seconds >= seconds:
            return lease
        longer = replace(lease, seconds=seconds, expires_at=self.clock.now() + timedelta(seconds=seconds))
        self.store.extend(saga, longer)
        return longer

    def _drive_or_follow(self, saga: Saga, lease: Lease, until: datetime) -> Saga:
        try:
            self.advance(saga, lease, until)
        except LeaseLost:
            return self._follow_the_other(saga, until)
        except StoreUnavailable as error:
            raise StoreUnavailable(saga_id=saga.id) from error
        return saga

    def _follow_the_other(self, saga: Saga, until: datetime) -> Saga:
        """The saga as its new driver runs it; it is gone if the database lost it in a crash, having made only reads."""
        try:
            return self.follow(saga.id, until)
        except SagaNotFound as error:
            raise StoreUnavailable("The database lost this saga before it had any effect. Start it again.") from error

    def _repeat(self, existing: Existing, request: StartRequest, until: datetime) -> Saga:
        assert request.idempotency is not None
        if existing.request_hash != request.idempotency.request_hash:
            raise IdempotencyConflict
        saga = self.follow(existing.saga_id, until)
        if not saga.resting:
            # Its driver may not have waited for the disk yet, since nobody had been told of the saga; now somebody is.
            self.store.make_durable()
        return saga

    def _started_before(self, request: StartRequest) -> Existing | None:
        """The saga of the same request, made when an earlier version took it, or there was a broker."""
        given = request.idempotency
        existing = self.store.started(request.tenant, given.key) if given else None
        return existing if given and existing and existing.request_hash == given.request_hash else None

    def _goes_on(self, saga: Saga, until: datetime, longest_wait: float) -> bool:
        """Whether the next call is due within this driver's patience; waits for it if so."""
        now, due_at = self.clock.now(), saga.wake_at()
        if due_at is None or now >= until:
            return False
        wait = (due_at - now).total_seconds()
        if wait > longest_wait or due_at > until:
            return False
        if wait > 0:
            self.clock.sleep(wait)
        return True

    def _require_broker(self, definition: SagaDefinition) -> None:
        """A saga that speaks to nobody would wait until its time is over, and its undo would never arrive."""
        topics = [] if self.broker else sorted(set(definition.topics().values()))
        if topics:
            raise BrokerMissing(
                said(
                    "A saga of %(workflow)s speaks through the topics %(topics)s, and no message broker is configured: "
                    "set BROKER_URL for the orchestrator and its workers. Nothing was stored.",
                    workflow=definition.name,
                    topics=", ".join(topics),
                )
            )

    def _definition(self, request: StartRequest) -> SagaDefinition:
        if request.version is None:
            return self.definitions.newest(request.workflow)
        return self.definitions.version(request.workflow, request.version)

    def _origin(self, definition: SagaDefinition, request: StartRequest, now: datetime) -> Origin:
        seconds = self.saga_timeout if definition.deadline is None else definition.deadline
        return Origin(
            id=self.new_id(),
            input=request.input,
            correlation_id=request.correlation_id,
            started_at=now,
            deadline_at=now + timedelta(seconds=seconds),
            max_retries=self.max_retries,
            tenant=request.tenant,
            traceparent=request.traceparent,
        )
