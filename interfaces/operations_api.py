"""What a person may do to a saga over HTTP: each verb needs a reason, and can be previewed."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from application.operations import Act, giving
from domain.entities import Saga
from domain.events import Action
from domain.operations import By
from interfaces import documentation as docs
from interfaces.callers import OPERATOR
from interfaces.platform import platform
from interfaces.presentation import preview_json, saga_json

LONGEST_REASON = 500
DEFAULT_RATE, SLOWEST, FASTEST = 10.0, 0.1, 1000.0
"""Sagas a second of a bulk remedy."""
ENDS = ("completed", "compensated")
_COMMON = ("reason", "preview")
_WHOLE = re.compile(r"[0-9]{1,18}")
_FLAGS: dict[Any, bool] = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


class RetryView(APIView):
    """Try again now."""

    roles = {"POST": (OPERATOR,)}

    @docs.retry
    def post(self, request: Request, saga_id: UUID) -> Response:
        """See `Saga.retry`."""
        return _operated(request, saga_id, lambda _: Saga.retry)


class SkipView(APIView):
    """Take a step, or its undo, as done."""

    roles = {"POST": (OPERATOR,)}

    @docs.skip
    def post(self, request: Request, saga_id: UUID) -> Response:
        """See `Saga.skip`."""

        def act(asked: Body) -> Act:
            given = asked.given.get("output")
            return partial(Saga.skip, step=asked.step(), item=asked.item(), action=asked.action(), output=given)

        return _operated(request, saga_id, act, "step", "item", "action", "output")


class CompensateView(APIView):
    """Turn back and undo."""

    roles = {"POST": (OPERATOR,)}

    @docs.compensate
    def post(self, request: Request, saga_id: UUID) -> Response:
        """See `Saga.compensate`."""
        return _operated(request, saga_id, lambda _: Saga.compensate)


class PauseView(APIView):
    """Hold."""

    roles = {"POST": (OPERATOR,)}

    @docs.pause
    def post(self, request: Request, saga_id: UUID) -> Response:
        """See `Saga.pause`."""
        return _operated(request, saga_id, lambda _: Saga.pause)


class ResumeView(APIView):
    """Let go on."""

    roles = {"POST": (OPERATOR,)}

    @docs.resume
    def post(self, request: Request, saga_id: UUID) -> Response:
        """See `Saga.resume`."""
        return _operated(request, saga_id, lambda _: Saga.resume)


class ResolveView(APIView):
    """Declare settled by hand."""

    roles = {"POST": (OPERATOR,)}

    @docs.resolve
    def post(self, request: Request, saga_id: UUID) -> Response:
        """See `Saga.resolve`."""
        return _operated(request, saga_id, lambda asked: partial(Saga.resolve, end=asked.end()), "outcome")


class SignalView(APIView):
    """Give a waiting saga its message."""

    roles = {"POST": (OPERATOR,)}

    @docs.signal
    def post(self, request: Request, saga_id: UUID, name: str) -> Response:
        """See `Saga.signal`: the body is the message, its type is in the address, and why in the query."""
        asked = Query(request)
        by, preview, expected = By(actor=request.user.name, reason=asked.told()), asked.preview(), asked.expected()
        asked.finish()
        return _answered(saga_id, giving({**request.data, "type": name}), by, expected, preview=preview)


def _operated(request: Request, saga_id: UUID, verb: "Callable[[Body], Act]", *fields: str) -> Response:
    """Do it, or show what it would do. `fields`: what the body may have beside what every verb has."""
    asked = Body(request, ("expected_seq", *fields))
    act, by, preview = verb(asked), By(actor=request.user.name, reason=asked.reason()), asked.preview()
    expected = asked.number("expected_seq")
    asked.finish()
    return _answered(saga_id, act, by, expected, preview=preview)


def _answered(saga_id: UUID, act: Act, by: By, expected: int | None, *, preview: bool) -> Response:
    operations = platform().operations
    if preview:
        return Response(preview_json(operations.preview(saga_id, act, by, expected)))
    return Response(saga_json(operations.act(saga_id, act, by, expected)))


class Body:
    """The body of a verb, with every fault collected. `preview` may be in the query too."""

    def __init__(self, request: Request, fields: tuple[str, ...]) -> None:
        if not isinstance(request.data, dict):
            raise ValidationError({"body": ["must be an object"]})
        known = (*_COMMON, *fields)
        query = request.query_params.dict()
        self.given = {**query, **request.data}
        self._faults = {
            name: [f"is not a field; there is {', '.join(known)}"] for name in request.data if name not in known
        } | {name: ["is not a parameter; there is preview"] for name in query if name != "preview"}

    def finish(self) -> None:
        """Raise what was wrong."""
        if self._faults:
            raise ValidationError(self._faults)

    def reason(self) -> str:
        """Why: kept for ever in the saga's history."""
        value = self.given.get("reason")
        if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_REASON:
            self._fault("reason", f"is required: why, in 1 to {LONGEST_REASON} characters")
            return ""
        return value.strip()

    def preview(self) -> bool:
        """Whether only to show what would happen."""
        value = self.given.get("preview", False)
        if not isinstance(value, bool | str) or value not in _FLAGS:
            self._fault("preview", "must be true or false")
            return True
        return _FLAGS[value]

    def step(self) -> str:
        """The name of a step."""
        value = self.given.get("step")
        if not isinstance(value, str) or not value:
            self._fault("step", "is required: the name of the step to take as done")
            return ""
        return value

    def action(self) -> Action:
        """Whether the step or its undo."""
        value = self.given.get("action", "do")
        if value not in {"do", "undo"}:
            self._fault("action", "must be do or undo")
            return Action.DO
        return Action(value)

    def item(self) -> int | None:
        """Which item of a foreach step, from 0."""
        value = self.given.get("item")
        if value is None or (type(value) is int and value >= 0):
            return value
        self._fault("item", "must be a whole number from 0")
        return None

    def number(self, name: str) -> int | None:
        """A whole number from 1, if it is given."""
        value = self.given.get(name)
        if value is None or (type(value) is int and value >= 1):
            return value
        self._fault(name, "must be a whole number from 1")
        return None

    def per_second(self) -> float:
        """How many sagas a second."""
        value = self.given.get("per_second", DEFAULT_RATE)
        if type(value) in {int, float} and SLOWEST <= value <= FASTEST:
            return float(value)
        self._fault("per_second", f"must be a number from {SLOWEST:g} to {FASTEST:g}")
        return DEFAULT_RATE

    def end(self) -> Any:
        """How it was settled."""
        value = self.given.get("outcome")
        if value not in ENDS:
            self._fault("outcome", f"is required: {' or '.join(ENDS)}")
        return value

    def _fault(self, name: str, message: str) -> None:
        self._faults.setdefault(name, []).append(message)


class Query(Body):
    """The parameters of a verb whose body is a message: that may have any field, so none of it is a parameter."""

    def __init__(self, request: Request) -> None:
        if not isinstance(request.data, dict):
            raise ValidationError({"body": ["must be an object"]})
        known = (*_COMMON, "expected_seq")
        self.given = request.query_params.dict()
        self._faults = {
            name: [f"is not a parameter; there is {', '.join(known)}"] for name in self.given if name not in known
        }

    def told(self) -> str:
        """Why, if it is said: a program may have no reason but the message."""
        reason: str = self.given.get("reason", "").strip()
        if len(reason) > LONGEST_REASON or "\0" in reason:
            self._fault("reason", f"may have up to {LONGEST_REASON} characters")
        return reason

    def expected(self) -> int | None:
        """The `seq` that was looked at, if it is given."""
        text = self.given.get("expected_seq")
        if text is not None and _WHOLE.fullmatch(text):
            self.given["expected_seq"] = int(text)
        return self.number("expected_seq")
