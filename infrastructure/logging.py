"""Logs as one JSON object a line."""

import logging
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.msgspec import MsgspecFormatter

# No line has them, and each line would look for them.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

LONGEST = 8000
"""Characters of a value: a trace may be as deep as Python allows, and a client may say what it likes."""


class JsonFormatter(MsgspecFormatter):
    """`time` (RFC 3339, UTC), `level, logger, message` and whatever `extra` gives, each of a bounded length."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """To the millisecond, so that lines of several processes can be put in order."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Of what is too long the line has both ends: a trace begins with where, and ends with what."""
        return {name: _bounded(value) for name, value in log_data.items()}


def _bounded(value: Any) -> Any:
    if type(value) is str and len(value) <= LONGEST:  # most of them
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= LONGEST:
        return value
    return f"{text[: LONGEST // 2]} ...({len(text) - LONGEST} characters)... {text[-LONGEST // 2 :]}"
