"""Participants, and an outbox, that let chosen sagas fail on purpose; wired in only where the environment turns it on.

The engine knows nothing of it: it meets a refusal, a silence or a lost answer like any other.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from uuid import UUID

from application.fault_scenario import FaultScenario, scenario_of
from application.ports import Outgoing, Participants
from application.saga_orchestrator import SagaOrchestrator
from application.trace_context import Sampled, unsampled
from domain.calls import Task
from domain.events import Action
from domain.exceptions import LeaseLost, NotAllowed
from domain.outcomes import Postponed, Rejected, Reply, Unavailable, Unknown
from infrastructure.models import SagaRow
from infrastructure.outbox_store import PostgresOutbox

SLOWLY = 0.5
"""Seconds before each call of a saga that people watch."""


class FaultInjection:
    """The participants, and what a saga's correlation id says of them. Undos and inquiries always go through."""

    def __init__(self, participants: Participants, sleep: Callable[[float], None] = time.sleep) -> None:
        self._participants, self._sleep = participants, sleep

    def call(self, task: Task) -> Reply:
        """Make one call, or say how it was ordered to end."""
        scenario = scenario_of(task.correlation_id)
        if scenario.slow:
            self._sleep(SLOWLY)
        if task.step != scenario.step or task.attempt.action is not Action.DO:
            return self._participants.call(task)
        reason = told(task.step)
        if scenario.outcome == Rejected.kind:
            return Reply(Rejected(reason))
        if scenario.outcome == Unavailable.kind:
            return Reply(Unavailable(reason))
        reply = self._participants.call(task)
        postponed = isinstance(reply.outcome, Postponed)
        return reply if postponed else Reply(Unknown(f"{reason}, its answer was dropped"), reply.facts)

    def call_all(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Reply]]:
        """Several calls at once; those of one saga share its correlation id, and so its scenario."""
        if any(scenario_of(task.correlation_id).mark() for task in tasks):
            yield from ((task, self.call(task)) for task in tasks)
        else:
            yield from self._participants.call_all(tasks)


OUTCOMES: dict[str, type[Rejected | Unavailable | Unknown]] = {
    each.kind: each for each in (Rejected, Unavailable, Unknown)
}


class FaultyOutbox(PostgresOutbox):
    """The outbox, and what a saga's correlation id says of its messages.

    A command that is told to be refused, or to find nobody, does not go out; one whose answer is to be lost does. Its
    step is answered at once. Undos always go through, and so does a message that nobody answers: its step is done.
    """

    def __init__(self, events_topic: str, engine: SagaOrchestrator, sampled: Sampled = unsampled) -> None:
        super().__init__(events_topic, sampled)
        self._topic, self._engine = events_topic, engine

    def waiting(self, limit: int, but: Collection[str] = (), after: int = 0) -> list[Outgoing]:
        """See `Outbox`: what is to go out. What has to stay, since its saga is paused, is passed over.

        Crash after the step was answered: the message is still there, and meets the same fault.
        """
        going: list[Outgoing] = []
        while len(going) < limit:
            waiting = super().waiting(limit, but, after)
            going += self._going(waiting)
            if len(waiting) < limit:
                break
            after = waiting[-1].number
        return going[:limit]

    def _going(self, waiting: Sequence[Outgoing]) -> list[Outgoing]:
        scenarios = self._scenarios({_saga_of(each) for each in waiting if each.message.topic != self._topic})
        going = []
        for each in waiting:
            scenario = scenarios.get(_saga_of(each)) if each.message.topic != self._topic else None
            if scenario is None or self._goes(each, scenario):
                going.append(each)
        return going

    def _scenarios(self, sagas: set[UUID]) -> dict[UUID, FaultScenario]:
        """Those of the sagas that are to fail, and how."""
        rows = SagaRow.objects.filter(id__in=sagas).values_list("id", "correlation_id") if sagas else []
        scenarios = {saga_id: scenario_of(correlation_id) for saga_id, correlation_id in rows}
        return {saga_id: scenario for saga_id, scenario in scenarios.items() if scenario.step}

    def _goes(self, message: Outgoing, scenario: FaultScenario) -> bool:
        """Whether it goes out. If not it is taken off; while others are at its saga it stays, for the next look."""
        store, now = self._engine.store, self._engine.clock.now()
        saga = store.load(_saga_of(message))
        event = saga.history[int(message.message.properties["seq"]) - 1]
        awaited = any(step.name == event.step and step.awaits for step in saga.definition.steps)
        if event.step is None or event.step != scenario.step or event.action is not Action.DO or not awaited:
            return True
        try:
            events = saga.end_wait(OUTCOMES[scenario.outcome](told(event.step)), now, event.step, event.item)
            if events:
                store.intervene(saga, events, now)
                self._engine.observe(saga, events)
        except (NotAllowed, LeaseLost):
            return False
        if scenario.outcome == Unknown.kind:
            return True
        self.sent([message])
        return False


def _saga_of(message: Outgoing) -> UUID:
    return UUID(message.message.properties["saga_id"])


def told(step: str) -> str:
    """The reason of a failure that was ordered."""
    return f"fault injection: {step} was told to fail"
