"""Logs as one JSON object a line."""

import logging
from datetime import UTC, datetime

from pythonjsonlogger.msgspec import MsgspecFormatter


class JsonFormatter(MsgspecFormatter):
    """`time` (RFC 3339, UTC), `level, logger, message` and whatever `extra` gives."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """To the millisecond, so that lines of several processes can be put in order."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
