"""A saga tested as a dialogue: given a definition, expect a call, and given an answer, expect the next."""

from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import pytest

from domain.calls import Task
from domain.definition import Request, SagaDefinition, Step
from domain.entities import Saga
from domain.events import EventType, SagaEvent
from domain.exceptions import NotAllowed
from domain.operations import By
from domain.outcomes import Outcome, Succeeded
from domain.progress import Origin

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
ANNA = By(actor="anna", reason="ticket 7")
SAGA_ID = UUID("01890000-0000-7000-8000-000000000001")


def step(name: str, **options: Any) -> Step:
    """A step `POST svc /name`, undone by `POST svc /name/undo` unless it is safe or a pivot."""
    request = Request(service="svc", method="POST", path=f"/{name}")
    if not (options.get("safe") or options.get("pivot") or "compensation" in options):
        options["compensation"] = Request(
            service="svc", method="POST", path=f"/{name}/undo", body={"undo_of": "${saga.do_key}"}
        )
    return Step(name=name, **{"action": request, **options})


def workflow(*steps: Step, **options: Any) -> SagaDefinition:
    """A workflow of these steps."""
    words = {
        "initial_state": "begun",
        "completed_state": "done",
        "compensating_state": "undoing",
        "compensated_state": "undone",
        "failed_state": "refused",
    }
    return SagaDefinition(**{"name": "test", "version": 1, "steps": steps, **words, **options})


def origin(
    given: dict[str, Any] | None = None, deadline: float = 30.0, max_retries: int = 3, saga_id: UUID = SAGA_ID
) -> Origin:
    return Origin(
        id=saga_id,
        input=given or {},
        correlation_id="correlation",
        started_at=START,
        deadline_at=START + timedelta(seconds=deadline),
        max_retries=max_retries,
    )


class Dialogue:
    """One saga and its participants' script. `now` moves only when the test or a retry moves it."""

    def __init__(self, definition: SagaDefinition, given: dict[str, Any] | None = None, **options: Any) -> None:
        self.now = START
        self.saga, self.events = Saga.start(definition, origin(given, **options))
        self.keys: list[str] = []

    def expect(self, *calls: str) -> Self:
        """These calls are due, each as `METHOD service /path`; waits for the next retry when none is due yet."""
        tasks = self.tasks()
        assert [f"{task.method} {task.service} {task.path}" for task in tasks] == list(calls)
        self.keys += [task.key.removeprefix(f"{SAGA_ID}:") for task in tasks]
        return self

    def given(self, outcome: Outcome, at: int = 0) -> Self:
        """The call number `at` of those that are due ends so."""
        self.events += self.saga.record(outcome, self.now, of=self.tasks()[at])
        return self

    def ok(self, output: Any = None, at: int = 0) -> Self:
        return self.given(Succeeded(output), at)

    def hears(self, kind: str, **body: Any) -> Self:
        """A message of this type arrives."""
        self.events += self.saga.signal({"type": kind, **body}, self.now)
        return self

    def published(self) -> list[tuple[str, dict[str, Any]]]:
        """Every message sent so far, as topic and body."""
        sent = self.of_type(EventType.MESSAGE_PUBLISHED)
        return [(event.output["topic"], event.output["body"]) for event in sent]

    def later(self, seconds: float) -> Self:
        self.now += timedelta(seconds=seconds)
        return self

    def expire(self) -> Self:
        self.events += self.saga.expire(self.now)
        return self

    def act(self, verb: str, *given: Any, **options: Any) -> Self:
        """A person does something: `retry`, `skip`, ..., on the saga as it is stored."""
        self.saga = Saga.restore(self.saga.definition, self.saga.origin, self.events)
        self.events += getattr(self.saga, verb)(ANNA, self.now, *given, **options)
        return self

    def refused(self, verb: str, *given: Any, **options: Any) -> str:
        """The same, refused: why. Nothing has changed."""
        seq = self.saga.seq
        with pytest.raises(NotAllowed) as caught:
            self.act(verb, *given, **options)
        assert self.saga.seq == seq
        return str(caught.value)

    def take_over(self) -> Self:
        """The driver vanishes, and another goes on from what is stored."""
        self.saga = Saga.restore(self.saga.definition, self.saga.origin, self.events)
        self.events += self.saga.take_over(self.now, "worker-2")
        return self

    def ends(self, status: str, state: str) -> Self:
        assert (self.saga.status, self.saga.state) == (status, state)
        assert self.saga.resting
        assert self.saga.next_tasks(self.now + timedelta(days=1)) == []
        return self

    def tasks(self) -> list[Task]:
        due_at = self.saga.wake_at()
        if due_at and due_at > self.now:
            self.now = due_at
        return self.saga.next_tasks(self.now)

    def states(self) -> list[str]:
        """The states passed through, each once."""
        path: list[str] = []
        for event in self.events:
            path += [] if path and path[-1] == event.state else [event.state]
        return path

    def of_type(self, kind: EventType) -> list[SagaEvent]:
        return [event for event in self.events if event.type is kind]
