"""Logs as one JSON object a line."""

from pythonjsonlogger.msgspec import MsgspecFormatter


class JsonFormatter(MsgspecFormatter):
    """`time, level, logger, message` and whatever `extra` gives."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
