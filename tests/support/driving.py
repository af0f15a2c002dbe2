"""An engine over the store in memory: a clock that only tests move, participants that keep their duties, crashes."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from application.recovery import claim_due, drive
from application.saga_orchestrator import SagaOrchestrator, StartRequest
from domain.calls import Task
from domain.definition import SagaDefinition
from domain.entities import Saga
from domain.events import Action, SagaEvent
from domain.exceptions import InputInvalid, WorkflowUnknown
from domain.outcomes import Outcome, Rejected, Reply, Succeeded
from tests.support.dialogue import START
from tests.support.memory_store import MemorySagaStore


class Crash(BaseException):
    """The process dies here: nothing after it happens."""


class FakeClock:
    def __init__(self) -> None:
        self.time = START
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


class Services:
    """Participants with a barrier; `script` answers a call instead, or None to let it through."""

    def __init__(self) -> None:
        self.calls: list[Task] = []
        self.effects: list[str] = []
        self.undone: list[str] = []
        self.barred: set[str] = set()
        self.script: Callable[[Task], Outcome | None] = lambda _: None
        self.after: Callable[[Task], None] = lambda _: None

    def call(self, task: Task) -> Reply:
        self.calls.append(task)
        outcome = self.script(task) or self._honest(task)
        self.after(task)
        return Reply(outcome)

    def call_all(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Reply]]:
        for task in tasks:
            yield task, self.call(task)

    def _honest(self, task: Task) -> Outcome:
        key = task.key.rpartition(":")[0]
        if task.attempt.action is Action.UNDO:
            self.barred.add(key)
            if key in self.effects and key not in self.undone:
                self.undone.append(key)
        elif key in self.barred:
            return Rejected("undone before")
        elif key not in self.effects:
            self.effects.append(key)
        return Succeeded({})

    @property
    def left(self) -> list[str]:
        """The steps whose effect stands, in the order in which they were done."""
        return [key.split(":")[1] for key in self.effects if key not in self.undone]


class Workflows:
    def __init__(self, definition: SagaDefinition) -> None:
        self.definition = definition

    def newest(self, name: str) -> SagaDefinition:
        if name != self.definition.name:
            raise WorkflowUnknown
        return self.definition

    def version(self, name: str, version: int) -> SagaDefinition:
        return self.newest(name)

    def all(self) -> list[SagaDefinition]:
        return [self.definition]

    def check_input(self, definition: SagaDefinition, given: object) -> None:
        if given == {"wrong": True}:
            raise InputInvalid({"wrong": ["is wrong"]})


class Bench:
    """One engine and what it runs against. `workers` are later processes: they share the store and the services."""

    def __init__(self, definition: SagaDefinition, **options: float) -> None:
        self.clock, self.services, self.store = FakeClock(), Services(), MemorySagaStore()
        self.observed: list[SagaEvent] = []
        self.engine = SagaOrchestrator(
            store=self.store,
            participants=self.services,
            definitions=Workflows(definition),
            clock=self.clock,
            observe=lambda _, events: self.observed.extend(events),
            new_id=uuid4,
            owner="request",
            **options,
        )

    def start(self, **options: object) -> Saga:
        request = {"workflow": "test", "input": {}, "correlation_id": "correlation", **options}
        return self.engine.start(StartRequest(**request))

    def work(self) -> int:
        """One round of a worker: claim what is due, and drive it."""
        lease, claimed = claim_due(self.engine, 10)
        return sum(drive(self.engine, one, lease) for one in claimed)

    def work_until_rest_of(self, saga_id: UUID) -> Saga:
        """The same for one saga of any store."""
        for _ in range(600):
            self.work()
            saga = self.engine.store.load(saga_id)
            if saga.resting:
                return saga
            self.clock.sleep(1)
        raise AssertionError("the saga was lost")

    def work_until_rest(self) -> Saga:
        """Workers come round every second, until nothing moves by itself any more."""
        for _ in range(600):
            self.work()
            [saga] = [row.saga() for row in self.store.rows.values()]
            if saga.resting:
                return saga
            self.clock.sleep(1)
        raise AssertionError("the saga was lost")
