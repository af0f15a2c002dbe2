"""Logs as one JSON object a line, on standard error or in a file that several processes share."""

import logging
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.msgspec import MsgspecFormatter

# No line has them, and each line would look for them.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging._srcfile = None  # type: ignore[attr-defined] # noqa: SLF001 - as its documentation says, for who needs no caller

LONGEST = 8000
"""Characters of a value: a trace may be as deep as Python allows, and a client may say what it likes."""


class JsonFormatter(MsgspecFormatter):
    """`time` (RFC 3339, UTC), `level, logger, message` and whatever `extra` gives, each of a bounded length."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """To the millisecond, so that lines of several processes can be put in order."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Each once, and bounded at once: the library's general way costs more than the rest of a line."""
        log_data["time"], log_data["level"], log_data["logger"] = self.formatTime(record), record.levelname, record.name
        log_data["message"] = _bounded(record.message)
        for name, value in message_dict.items():  # a trace, which the library has made a text
            log_data[name] = _bounded(value)
        for name, value in record.__dict__.items():
            if name not in _OWN and not (type(name) is str and name.startswith("_")):
                log_data[name] = value if type(value) is str and len(value) <= LONGEST else _bounded(value)


_OWN = frozenset(RESERVED_ATTRS)
"""What every record has; the rest was given with `extra`."""


class SharedFile(WatchedFileHandler):
    """A file that every process appends to, each line whole, and that is opened anew once it was renamed or removed.

    Rotating it is logrotate's: a process that renamed it itself would do so under the others' hands.
    """

    def _open(self) -> TextIOWrapper:
        """With room for the longest line: what is written at once is not interleaved with what others write."""
        return open(self.baseFilename, self.mode, buffering=ROOM, encoding="utf-8", errors="backslashreplace")  # noqa: PTH123 - kept open


ROOM = 1024 * 1024


def handler(path: str | None) -> dict[str, Any]:
    """The handler of a logging configuration: this file, or standard error."""
    if path is None:
        return {"class": "logging.StreamHandler", "formatter": "json"}
    return {"()": "infrastructure.logging.SharedFile", "filename": path, "formatter": "json", "delay": True}


def _bounded(value: Any) -> Any:
    """Of what is too long both ends: a trace begins with where, and ends with what."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= LONGEST:
        return value
    return f"{text[: LONGEST // 2]} ...({len(text) - LONGEST} characters)... {text[-LONGEST // 2 :]}"
