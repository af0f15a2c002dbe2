"""Participants that let chosen sagas fail on purpose; wired in only where the environment turns it on.

The engine knows nothing of it: it meets a refusal, a silence or a lost answer like any other.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from application.fault_scenario import scenario_of
from application.ports import Participants
from domain.calls import Task
from domain.events import Action
from domain.outcomes import Postponed, Rejected, Reply, Unavailable, Unknown

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
        reason = f"fault injection: {task.step} was told to fail"
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
