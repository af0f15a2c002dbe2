"""Lists of sagas and events: filters that are columns, newest first, paged by key and never by offset."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from application.queries import EventFilter, SagaFilter
from domain.events import FINISHED, EventType, SagaStatus
from interfaces.platform import platform
from interfaces.presentation import listed_json

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
_SAGA_TEXTS = ("workflow", "state", "tenant", "correlation_id", "q")
_SAGA_PARAMETERS = frozenset({*_SAGA_TEXTS, "status", "created_after", "created_before", "active", "cursor", "limit"})
_EVENT_PARAMETERS = frozenset({"type", "step", "cursor", "limit"})


def page_of_sagas(
    parameters: Any,
    workflow: str | None = None,
    show: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda rows: list(map(listed_json, rows)),
) -> dict[str, Any]:
    """`{"results": [...], "next": cursor or null}`. Raises ValidationError, field by field, for a wrong parameter.

    With a `workflow` it is that one's sagas, and the parameter of that name is none.
    """
    reader = _Reader(parameters, _SAGA_PARAMETERS - ({"workflow"} if workflow else set()))
    texts = {name: reader.text(name) for name in _SAGA_TEXTS}
    chosen = SagaFilter(
        **(texts | {"workflow": workflow} if workflow else texts),
        status=reader.choice("status", [status.value for status in SagaStatus]),
        created_after=reader.time("created_after"),
        created_before=reader.time("created_before"),
        active=reader.flag("active"),
        before=reader.uuid("cursor"),
    )
    limit = reader.limit()
    reader.finish()
    rows = platform().queries.sagas(chosen, limit + 1)
    more = rows[limit - 1]["id"] if len(rows) > limit else None
    return {"results": show(rows[:limit]), "next": more}


def page_of_events(parameters: Any, saga_id: UUID | None = None) -> dict[str, Any]:
    """A page of one saga's events, or of all; `next` is `saga.seq`. Raises ValidationError for a wrong parameter."""
    reader = _Reader(parameters, _EVENT_PARAMETERS)
    chosen = EventFilter(
        saga_id=saga_id,
        type=reader.choice("type", [kind.value for kind in EventType]),
        step=reader.text("step"),
        after=reader.event_cursor(),
    )
    limit = reader.limit()
    reader.finish()
    rows = platform().queries.events(chosen, limit + 1)
    more = f"{rows[limit - 1]['saga_id']}.{rows[limit - 1]['seq']}" if len(rows) > limit else None
    return {"results": rows[:limit], "next": more}


def statistics() -> dict[str, Any]:
    """Counts by workflow and status, the live sagas by state, and what they add up to."""
    counts = platform().queries.counts()
    pairs = [(status, count) for statuses in counts.by_status.values() for status, count in statuses.items()]
    return {
        "total": sum(count for _status, count in pairs),
        "live": sum(count for status, count in pairs if status not in FINISHED),
        "stuck": sum(count for status, count in pairs if status == SagaStatus.STUCK),
        "by_status": counts.by_status,
        "live_by_state": counts.live_by_state,
    }


class _Reader:
    """Query parameters, with every fault collected."""

    def __init__(self, parameters: Any, known: frozenset[str]) -> None:
        self._parameters = parameters
        self._faults: dict[str, list[str]] = {
            name: [_("is not a parameter; there is %(known)s") % {"known": ", ".join(sorted(known))}]
            for name in parameters
            if name not in known
        }

    def finish(self) -> None:
        """Raise what was wrong."""
        if self._faults:
            raise ValidationError(self._faults)

    def text(self, name: str) -> str | None:
        """Any text."""
        value = self._parameters.get(name) or None
        return self._fault(name, _("has a NUL character")) if value and "\0" in value else value

    def limit(self) -> int:
        """How many rows, 50 unless told."""
        text = self._parameters.get("limit") or str(DEFAULT_LIMIT)
        if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
            self._fault("limit", _("must be a number from 1 to %(most)s") % {"most": MAX_LIMIT})
            return DEFAULT_LIMIT
        return int(text)

    def uuid(self, name: str) -> UUID | None:
        """An id."""
        text = self._parameters.get(name)
        try:
            return UUID(text) if text else None
        except ValueError:
            return self._fault(name, _("must be a UUID"))

    def event_cursor(self) -> tuple[UUID, int] | None:
        """`saga.seq`, as `next` gave it."""
        text = self._parameters.get("cursor")
        if not text:
            return None
        found = re.fullmatch(r"([0-9a-f-]{36})\.([0-9]{1,9})", text)
        try:
            return (UUID(found[1]), int(found[2])) if found else self._no_cursor()
        except ValueError:
            return self._no_cursor()

    def time(self, name: str) -> datetime | None:
        """A time; UTC where it does not say."""
        text = self._parameters.get(name)
        if not text:
            return None
        found = _time(text)
        return found or self._fault(name, _("must be a time like 2026-01-31T12:00:00Z"))

    def flag(self, name: str) -> bool | None:
        """True or false."""
        text = (self._parameters.get(name) or "").lower()
        if text not in {"", "true", "false", "1", "0"}:
            return self._fault(name, _("must be true or false"))
        return None if not text else text in {"true", "1"}

    def choice(self, name: str, choices: list[str]) -> str | None:
        """One of the choices."""
        text = self._parameters.get(name)
        if text and text not in choices:
            return self._fault(name, _("must be one of %(choices)s") % {"choices": ", ".join(choices)})
        return text or None

    def _no_cursor(self) -> None:
        return self._fault("cursor", _("must be the `next` of the page before"))

    def _fault(self, name: str, message: str) -> None:
        self._faults.setdefault(name, []).append(message)


def _time(text: str) -> datetime | None:
    """The time, in UTC, where nothing passes that PostgreSQL does not know; None for what is not one."""
    try:
        found = parse_datetime(text)
        return found and (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
