"""One call of a saga to a participant: its idempotency key, its rendered request, and what became of it so far."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.definition import Publish, Request, RetryPolicy, Step
from domain.events import Action
from domain.exceptions import TemplateError
from domain.templates import Scope, render, render_path

LARGEST_MESSAGE = 4_000_000
"""Bytes of a message's JSON: what the brokers' adapters take, 4 MiB, less room for a key and properties."""


def idempotency_key(saga_id: str, step: Step, item: int | None, action: Action) -> str:
    """`{saga_id}:{step}[{item}]:{do|undo|inquire}`, the same for every attempt; the item only for foreach steps."""
    place = step.name if item is None else f"{step.name}[{item}]"
    return f"{saga_id}:{place}:{action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A call that is due at a time, and from then on may have gone out."""

    action: Action
    number: int
    due_at: datetime
    seq: int = 0
    """The event that made it due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A call that a driver must make now, complete: an adapter only sends it."""

    saga_id: UUID
    correlation_id: str
    workflow: str
    deadline: datetime
    step: str
    item: int | None
    attempt: Attempt
    key: str
    service: str
    method: str
    path: str
    query: dict[str, Any]
    body: Any
    timeout: float
    traceparent: str | None = None
    """The saga's own, not the call's."""


@dataclass(slots=True)
class Work:
    """What is known of one step, or of one item of a foreach step."""

    step: Step
    item: int | None
    pending: Attempt | None = None
    done: bool = False
    maybe_done: bool = False
    """An attempt ended unknown, or its driver vanished: it has to be undone although it never succeeded."""
    undone: bool = False
    undo_given_up: bool = False
    inquiry_given_up: bool = False
    output: Any = None
    rendered: dict[str, Any] | None = None
    """The pending call's request, kept from when it was made due: templates are rendered once."""

    @property
    def owes_undo(self) -> bool:
        """Whether it has or may have an effect that was not yet taken back."""
        return self.step.undoable and (self.done or self.maybe_done) and not self.undone

    @property
    def place(self) -> str:
        """`step`, or `step[item]`."""
        return self.step.name if self.item is None else f"{self.step.name}[{self.item}]"

    def policy(self, action: Action) -> RetryPolicy:
        """How often and how soon this action's call is repeated."""
        return self.step.retry if action is Action.DO else self.step.undo_retry

    def service(self, action: Action) -> str:
        """Whom this action reaches: a service, or a topic."""
        message = {Action.DO: self.step.publish, Action.UNDO: self.step.undo_publish}.get(action)
        if message:
            return message.topic
        if action is Action.AWAIT:
            return (self.step.awaits and self.step.awaits.topic) or "signal"
        return self.request(action).service

    def request(self, action: Action) -> Request:
        """The template of the call that this action makes."""
        chosen = self.template(action)
        assert chosen is not None, f"{self.step.name} has no call to {action}"
        return chosen

    def template(self, action: Action) -> Request | None:
        """The template of the call that this action makes; None when it makes none."""
        calls = {Action.DO: self.step.action, Action.UNDO: self.step.compensation, Action.INQUIRE: self.step.inquiry}
        return calls.get(action)


def render_message(message: Publish, scope: Scope) -> dict[str, Any]:
    """The body of a message. Raises TemplateError where a value is missing, or where no broker would take all of it."""
    body: dict[str, Any] = render(dict(message.body), scope)
    size = len(json.dumps(body, ensure_ascii=False).encode())
    if size > LARGEST_MESSAGE:
        raise TemplateError(f"the message for {message.topic} has {size} bytes, {LARGEST_MESSAGE} is the most")
    return body


def render_request(request: Request, scope: Scope) -> dict[str, Any]:
    """The request with every template filled in. Raises TemplateError where a value is missing."""
    return {
        "service": request.service,
        "method": request.method,
        "path": render_path(request.path, scope),
        "query": render(request.query, scope),
        "body": render(request.body, scope),
        "timeout": request.timeout,
    }
