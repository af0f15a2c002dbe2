"""Messages that no broker would take: see them, send them after all, or let them go."""

import getpass
import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from interfaces.plain_text import plain
from interfaces.platform import platform
from interfaces.saga_command import SagaCommand

logger = logging.getLogger("saga")


class Command(SagaCommand):
    """`python manage.py saga_outbox list|retry|drop`."""

    help = (
        "Messages that were put aside, because no broker would take them: list them, `retry` one (it goes out behind "
        "those of its saga that went out meanwhile), or `drop` one that its readers were told of in another way. Its "
        "saga is not pruned before that."
    )

    examples = ("saga_outbox list", "saga_outbox retry 17", 'saga_outbox drop 17 --reason "told by telephone"')

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to do, and to which."""
        parser.add_argument("what", choices=["list", "retry", "drop"], help="what to do")
        parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="as `list` shows them")
        parser.add_argument("--reason", help="why; needed to drop, and logged")
        parser.add_argument("--actor", default=getpass.getuser(), help="who; logged (default: you, %(default)s)")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it."""
        what, numbers = options["what"], options["numbers"]
        if what == "list":
            found = platform().outbox.refused()
            if not found:
                self.stderr.write("no message was put aside")
            for refused in found:
                said = plain(f"{refused.topic}  {refused.reason}")
                self.stdout.write(f"{refused.number}  saga {refused.saga_id} event {refused.seq}  {said}")
            return
        missing = ["which"] if not numbers else []
        missing += ["why (--reason)"] if what == "drop" and not options["reason"] else []
        if missing:
            raise CommandError(f"{what}: say {' and '.join(missing)}")
        for number in numbers:
            if not platform().outbox.settle(number, send=what == "retry"):
                raise CommandError(f"{number}: there is no such message, or it was not put aside")
            done = "put back" if what == "retry" else "dropped"
            more = {"number": number, "actor": options["actor"], "reason": options["reason"]}
            logger.warning("a message that had been put aside was %s", done, extra=more)
            self.stdout.write(f"{number}: {done}")
