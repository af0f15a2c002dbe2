"""The booking's two log files, where the environment names a directory for them: what happens, and how each ended."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from application.ports import Observer
from domain.entities import Saga
from domain.events import EventType, SagaEvent
from domain.workflows.booking import BOOKING, BookingEvent, BookingSaga

EVENTS, BOOKINGS = "flight.saga_orchestrator", "flight.saga_bookings"
FILES = {EVENTS: "saga_orchestrator.log", BOOKINGS: "saga_bookings.log"}
LINE = "%(asctime)s - [%(name)s] - %(levelname)s - %(message)s"
"""As it is published."""
WITH_CORRELATION = f"{LINE} [%(correlation_id)s]"


def observed(observe: Observer) -> Observer:
    """The observer, which also writes what happens to bookings."""

    def both(saga: Saga, events: Sequence[SagaEvent]) -> None:
        observe(saga, events)
        if saga.definition.name == BOOKING.name:
            write(saga, events)

    return both


def write(saga: Saga, events: Sequence[SagaEvent]) -> None:
    """A line for each event that is now stored; when the booking rests, its result as one line of JSON."""
    for said in map(BookingEvent, events):
        if said.message:
            whose = {"correlation_id": saga.origin.correlation_id}
            logging.getLogger(EVENTS).log(said.level, "%s", _marked(said), extra=whose)
    if saga.resting and events:
        logging.getLogger(BOOKINGS).info(msgspec.json.encode(BookingSaga(saga).result()).decode())


def _marked(said: BookingEvent) -> str | None:
    """The line's message; a step that is done has its mark."""
    done = said.event.type is EventType.STEP_SUCCEEDED
    return said.message.replace("[SAGA] ", "[SAGA] ✅ ", 1) if done and said.message else said.message


def with_files(
    logging_settings: dict[str, Any], directory: str, level: str, *, correlation: bool = False
) -> dict[str, Any]:
    """Django's LOGGING with the two files in this directory; every process appends to them.

    With `correlation`, each line of what happens ends with its booking's correlation id.
    """

    def handler(name: str, formatter: str) -> dict[str, Any]:
        path = str(Path(directory, FILES[name]))
        return {"()": "infrastructure.logging.SharedFile", "filename": path, "formatter": formatter, "delay": True}

    return {
        **logging_settings,
        "formatters": {
            **logging_settings["formatters"],
            "line": {"format": WITH_CORRELATION if correlation else LINE},
            "bare": {"format": "%(message)s"},
        },
        "handlers": {
            **logging_settings["handlers"],
            EVENTS: handler(EVENTS, "line"),
            BOOKINGS: handler(BOOKINGS, "bare"),
        },
        "loggers": {
            **logging_settings["loggers"],
            EVENTS: {"level": level, "handlers": [EVENTS], "propagate": False},
            BOOKINGS: {"level": "INFO", "handlers": [BOOKINGS], "propagate": False},
        },
    }
