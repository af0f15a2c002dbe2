"""What the commands of manage.py have in common: `--help` with examples and exit statuses."""

from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

from interfaces.command_help import KeepsLines, ending

WELL = "0 well, 1 it could not be done (a sentence says why), 2 wrong usage"


class _Formatter(KeepsLines, DjangoHelpFormatter):
    """Django's, which puts its own options last."""


class SagaCommand(BaseCommand):
    """A command that explains itself."""

    examples: ClassVar[tuple[str, ...]]
    """As one would type them, after `manage.py`."""
    exits: ClassVar[str] = WELL

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Django's, with examples and exit statuses."""
        said = ending(*(f"manage.py {example}" for example in self.examples), exits=self.exits)
        parser = super().create_parser(prog_name, subcommand, **{**said, "formatter_class": _Formatter, **options})
        program = Path(prog_name).name
        if program.endswith(".py") and program not in {"manage.py", "__main__.py"}:
            parser.prog = program  # one that is just this command
        return parser
