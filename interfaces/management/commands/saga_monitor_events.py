"""Prints the messages of the topics as they come."""

import json
import signal
import threading
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError

from application.ports import Message, Verdict
from interfaces.plain_text import plain
from interfaces.platform import platform
from interfaces.saga_command import SagaCommand

TOPICS = {
    "saga": ("saga-events",),
    "partner": ("eventos-partners",),
    "alliance": ("gestion-de-integraciones", "administracion-financiera-compliance"),
}
LONGEST = 2000
"""Characters of a message that are shown."""


class Command(SagaCommand):
    """`python manage.py saga_monitor_events --type all`: until Ctrl-C."""

    help = (
        "Print messages as they come, one line each: time, topic, key, body. Begins with the next message, takes none "
        "from anybody, and leaves nothing behind at the broker. Ctrl-C ends it."
    )

    examples = ("saga_monitor_events", "saga_monitor_events --type partner | grep partner_created")
    exits = "0 told to stop, 1 there is no broker, 2 wrong usage"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        shown = "; ".join(f"{name}: {', '.join(topics)}" for name, topics in TOPICS.items())
        parser.add_argument("--type", choices=["all", *TOPICS], default="all", help=f"{shown} (default: all)")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print until told to stop."""
        onlooker = platform().onlooker()
        if onlooker is None:
            raise CommandError(
                "BROKER_URL is not set: there is no broker to listen to. That of `make run` is "
                "BROKER_URL=pulsar://localhost:6650, unless it says otherwise"
            )
        chosen = TOPICS if options["type"] == "all" else [options["type"]]
        topics = [topic for name in chosen for topic in TOPICS[name]]
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        self.stderr.write(f"listening to {', '.join(topics)}; Ctrl-C ends")
        onlooker.consume(topics, "saga-monitor", self._show, stop)

    def _show(self, message: Message) -> Verdict:
        now = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        self.stdout.write(f"{now}  {message.topic}  {plain(message.key) or '-'}  {_body(message.body)}")
        self.stdout.flush()
        return Verdict.DONE


def _body(content: bytes) -> str:
    """JSON on one line as people read it; what is none, as it is written in Python."""
    try:
        text = json.dumps(json.loads(content), ensure_ascii=False)
    except (ValueError, RecursionError):
        text = repr(content)
    text = plain(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ...({len(text) - LONGEST} characters more)"
