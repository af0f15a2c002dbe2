"""One saga of any workflow against its real participants: what strikes it, how it is seen through, what is left of it.

A step is done by a call, or by a message over a real broker. The engine runs in the test's own thread and transaction,
also where it sends and takes messages; the participants are processes.
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from application.messages import BATCH, Inbox, Relay
from application.operations import Operations
from application.ports import Message, Verdict
from application.recovery import claim_due, drive
from application.saga_orchestrator import StartRequest
from domain.calls import idempotency_key
from domain.definition import SagaDefinition, Step
from domain.entities import Saga
from domain.events import Action, EventType, SagaEvent, SagaStatus
from domain.exceptions import BrokerUnavailable
from domain.operations import By
from infrastructure.definition_store import DefinitionStore
from infrastructure.http_participants import HttpParticipants
from infrastructure.outbox_store import PostgresOutbox
from infrastructure.pulsar_bus import PulsarPublisher, PulsarSubscriber
from infrastructure.saga_store import PostgresSagaStore
from participants.__main__ import services as reference_services
from saga_service import bootstrap
from tests.contract.participants_support import Participant, free_port, until
from tests.support.driving import FakeClock

HELP = By(actor="anna", reason="the participants are well again")
REJECTED, DONE, NOT_DONE = "rejected", "done", "not done"
CALL_FAULTS: dict[str, dict[str, Any]] = {
    REJECTED: {"fault": "fail", "status": 409},
    DONE: {"fault": "answer_lost"},
    NOT_DONE: {"fault": "reset"},
}
"""What strikes a do, each time that it is tried: refused; executed with no answer; not executed with no answer."""
MESSAGE_FAULTS: dict[str, dict[str, Any]] = {
    REJECTED: {"fault": "rejected"},
    DONE: {"fault": "unanswered"},
    NOT_DONE: {"fault": "ignored"},
}
"""The same of a message: refused; executed, and the answer never comes; lost on its way."""
FAULTS = tuple(CALL_FAULTS)
_REFERENCE = reference_services()
Effect = tuple[str, str]
"""A key without the saga's id, and `do` or `undo`."""


def reached_by(definition: SagaDefinition) -> set[str]:
    """The services that a workflow calls, and those that listen to its messages."""
    topics = {message.topic for step in definition.steps for message in step.messages}
    called = {request.service for step in definition.steps for request in step.requests}
    return called | {name for name, one in _REFERENCE.items() if one.listens and one.listens.topic in topics}


def past_pivot(definition: SagaDefinition, index: int) -> bool:
    """Whether a point of no return comes before this step."""
    return any(step.pivot for step in definition.steps[:index])


def goes_through(definition: SagaDefinition, index: int, fault: str) -> bool:
    """Whether a saga that meets this fault ends completed, once somebody has helped where it parked."""
    step = definition.steps[index]
    if past_pivot(definition, index):
        return True
    if fault == REJECTED:
        return False
    return fault == DONE if step.inquiry else step.pivot


class Bus:
    """The two ends of a worker's messages, over a real broker; what arrives waits for the test's own thread."""

    def __init__(self, url: str, topics: list[str]) -> None:
        self.publisher, self.nobody = PulsarPublisher(url), PulsarPublisher(f"pulsar://127.0.0.1:{free_port()}", 0.2)
        self.arrived: SimpleQueue[Message] = SimpleQueue()
        self._stop = threading.Event()
        arguments = [topics, "every-workflow", self._note, self._stop]
        self._thread = threading.Thread(target=PulsarSubscriber(url).consume, args=arguments)
        self._thread.start()

    def _note(self, message: Message) -> Verdict:
        self.arrived.put(message)
        return Verdict.DONE

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.publisher.close()
        self.nobody.close()


@dataclass
class Bench:
    """One saga of one workflow, its engine, and its participants as they were seeded."""

    definition: SagaDefinition
    given: dict[str, Any]
    participants: dict[str, Participant]
    bus: Bus
    definitions: DefinitionStore | None = None
    """The workflows of a process that is there already, to which somebody publishes; without, the bench's own."""
    clock: FakeClock = field(default_factory=FakeClock)
    away_for: str | None = None
    """The broker cannot be reached once a message of this place, `step[item]:do`, is in the outbox."""
    repeats: str | None = None
    """A worker dies whenever it has sent a message of this place: it is sent again."""
    troubled: int = 0
    """How often the broker or the worker failed so."""

    def __post_init__(self) -> None:
        reached = reached_by(self.definition)
        self.participants = {name: each for name, each in self.participants.items() if name in reached}
        self.seed()
        definitions = self.definitions or DefinitionStore([self.definition])
        if not self.definitions:
            definitions.register()
        urls = {name: participant.url for name, participant in self.participants.items()}
        self.outbox, self.lost = PostgresOutbox(), set[str]()
        self.engine = replace(
            bootstrap.engine(),
            store=PostgresSagaStore(definitions),
            definitions=definitions,
            participants=HttpParticipants(urls, "a-key"),
            clock=self.clock,
            max_retries=2,
            broker=True,
        )
        self.inbox = Inbox(self.engine, lambda *_: None)

    def seed(self) -> None:
        """The participants are well, and have what they have on their first day."""
        for name, participant in self.participants.items():
            participant.call("DELETE", "/_faults")
            seed_again(Path(participant.database), _REFERENCE[name].seed)

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def strike(self, index: int, fault: str) -> None:
        """Script a fault of a step's do."""
        step, place = self.definition.steps[index], f"{self.place(index)}:do"
        if step.publish:
            if fault == NOT_DONE:
                self.lost.add(place)
            self.fault(place, path=_command(step, Action.DO), **MESSAGE_FAULTS[fault])
        else:
            self.fault(place, **CALL_FAULTS[fault])

    def fault(self, place: str, path: str = "", **rule: Any) -> None:
        """Script a fault of the call or message whose key ends so, `step[item]:do`, wherever it goes."""
        for participant in self.participants.values():
            match = {"key": f":{place}", "path": path}
            answer = participant.call("POST", "/_faults", {"match": match, **rule})
            assert answer.status_code == 201, answer.text

    def fault_of_undo_message(self, index: int, **rule: Any) -> None:
        """The same of the message that undoes a step; it names the do."""
        step = self.definition.steps[index]
        self.fault(f"{self.place(index)}:do", path=_command(step, Action.UNDO), **rule)

    def struck(self) -> int:
        """How many calls and messages a fault has struck."""
        return sum(rule["used"] for each in self.participants.values() for rule in each.get("/_faults")["rules"])

    def recover(self) -> None:
        self.away_for, self.lost = None, set()
        for participant in self.participants.values():
            participant.call("DELETE", "/_faults")

    # --- how it goes on ----------------------------------------------------------------------------------------------

    def run(self) -> Saga:
        """Start the saga, and see it through until nothing moves by itself any more."""
        request = StartRequest(workflow=self.definition.name, input=self.given, correlation_id="every-workflow")
        return self.rest(self.engine.start(request))

    def rest(self, saga: Saga) -> Saga:
        """Workers come round whenever something is due; messages go out and come in."""
        for _ in range(200):
            saga = self.engine.store.load(saga.id)
            self._send(saga)
            if saga.resting:
                return saga
            if saga.status is SagaStatus.WAITING and until(lambda found=saga: self._heard(found), "an answer"):
                saga = self.engine.store.load(saga.id)
                if saga.status is not SagaStatus.WAITING:
                    continue
            due_at = self.engine.store.next_due()
            assert due_at is not None, "the saga was lost"
            self.clock.time = max(self.clock.time + timedelta(milliseconds=1), due_at)
            lease, claimed = claim_due(self.engine, 10)
            for one in claimed:
                assert drive(self.engine, one, lease)
        raise AssertionError(f"{saga.status} {saga.state} is never at rest")

    def act(self, saga: Saga, act: Any) -> Saga:
        """A person acts, and workers go on from there."""
        return self.rest(Operations(self.engine).act(saga.id, act, HELP))

    def helped(self, saga: Saga) -> Saga:
        """The participants are well again, and somebody retries a saga that was parked."""
        self.recover()
        return self.act(saga, Saga.retry) if saga.status is SagaStatus.STUCK else saga

    def _send(self, saga: Saga) -> None:
        """What the outbox holds goes out: to nobody while the broker is away, twice where the worker dies meanwhile."""
        waiting = self.outbox.waiting(BATCH)
        places = {_sent(saga.history[int(each.message.properties["seq"]) - 1]) for each in waiting}
        if self.away_for in places:
            with suppress(BrokerUnavailable):
                Relay(self.outbox, self.bus.nobody).send_some()
                raise AssertionError("there is nobody to take it")
            self.troubled += 1
            return
        if self.repeats in places:
            self.bus.publisher.publish([each.message for each in waiting])
            self.troubled += 1
        assert Relay(self.outbox, self.bus.publisher).send_some() == len(waiting)

    def _heard(self, saga: Saga) -> bool:
        """Whether the saga was given its answer, or none will come: its participant was made to keep it."""
        with suppress(Empty):
            while self.engine.store.load(saga.id).seq == saga.seq:
                assert self.inbox.handle(self.bus.arrived.get_nowait()) is Verdict.DONE
            return True
        step = saga.waiting()[0].step
        asked = [e for e in _published(saga) if (e.step, e.action) == (step, Action.DO)]
        silent = ("unanswered", "ignored")
        rules = (rule for each in self.participants.values() for rule in each.get("/_faults")["rules"])
        return sum(rule["used"] for rule in rules if rule["fault"] in silent) >= len(asked)

    # --- what is left of it ------------------------------------------------------------------------------------------

    def settle(self, saga: Saga) -> None:
        """Wait until the participants have taken in every message of the saga: their barriers say so."""
        self._send(saga)
        wanted = {
            (idempotency_key(str(saga.id), self._step(event), event.item, Action.DO), event.action)
            for event in _published(saga)
            if _sent(event) not in self.lost
        }
        until(lambda: wanted <= self._settled(), f"all of {wanted} taken in")

    def _settled(self) -> set[Effect]:
        found: set[Effect] = set()
        for participant in self.participants.values():
            with _database(participant) as database:
                found |= set(database.execute("SELECT call_key, operation FROM saga_barrier"))
        return found

    def effects(self, saga: Saga) -> Counter[Effect]:
        """What was really done, which balances: nothing twice, no undo without its do, and all of it given back."""
        self.settle(saga)
        found: Counter[Effect] = Counter()
        amounts: dict[tuple[str, str], set[tuple[str, float]]] = {}
        for name, participant in self.participants.items():
            for row in participant.get(f"/_ledger?saga_id={saga.id}")["effects"]:
                place = row["key"].partition(":")[2]
                found[place, row["operation"]] += 1
                amounts.setdefault((name, place), set()).add((row["subject"], row["quantity"]))
        assert set(found.values()) <= {1}
        assert {place for place, operation in found if operation == "undo"} <= self.done(found)
        assert all(len(known) == 1 for known in amounts.values()), amounts
        return found

    @staticmethod
    def done(effects: Counter[Effect]) -> set[str]:
        return {place for place, operation in effects if operation == "do"}

    def ended(self, saga: Saga, *, completed: bool) -> Counter[Effect]:
        """The saga is done with all that belongs to it, or undone to the last effect."""
        effects = self.effects(saga)
        undone = {place for place, operation in effects if operation == "undo"}
        if completed:
            assert (saga.status, saga.state) == (SagaStatus.COMPLETED, self.definition.completed_state)
            assert undone == set()
            assert self.done(effects) == set(expected(self)[1])
        else:
            assert saga.status in {SagaStatus.COMPENSATED, SagaStatus.FAILED}
            assert saga.failure
            assert undone == self.done(effects)
        return effects

    def place(self, index: int) -> str | None:
        """The last call of a step: `step`, or `step[item]`; None when its input leaves the step out."""
        return expected(self)[0].get(self.definition.steps[index].name)

    def _step(self, event: SagaEvent) -> Step:
        return next(step for step in self.definition.steps if step.name == event.step)


def _command(step: Step, action: Action) -> str:
    """What a participant's fault rules call the message."""
    message = step.publish if action is Action.DO else step.undo_publish
    assert message is not None
    return f"{message.topic}/{message.body['type']}"


def _published(saga: Saga) -> list[SagaEvent]:
    return [event for event in saga.history if event.type is EventType.MESSAGE_PUBLISHED]


def _sent(event: SagaEvent) -> str:
    place = event.step if event.item is None else f"{event.step}[{event.item}]"
    return f"{place}:{event.action}"


@contextmanager
def _database(participant: Participant) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(participant.database, isolation_level=None, timeout=10)) as database:
        yield database


def seed_again(path: Path, seed: Any) -> None:
    """A service's data as on its first day: a bet slip is cashed out once, a seat is sold once."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        database.execute("BEGIN IMMEDIATE")
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for (name,) in tables.fetchall():
            database.execute(f'DELETE FROM "{name}"')
        for statement, rows in seed:
            database.executemany(statement, rows)
        database.execute("COMMIT")


_EXPECTED: dict[str, tuple[dict[str, str], list[str]]] = {}


def expected(bench: Bench) -> tuple[dict[str, str], list[str]]:
    """Of a saga with which nothing goes wrong: the last call of each step, and the calls that had an effect."""
    name = bench.definition.name
    if name not in _EXPECTED:
        well = Bench(bench.definition, bench.given, bench.participants, bench.bus, bench.definitions)
        saga = well.run()
        assert saga.status is SagaStatus.COMPLETED, (saga.failure, saga.parked_reason)
        items = [(event.step, event.item) for event in saga.history if event.action == "do"]
        places = {step: step if item is None else f"{step}[{item}]" for step, item in sorted(set(items), key=str)}
        _EXPECTED[name] = places, sorted(well.done(well.effects(saga)))
    return _EXPECTED[name]
