#!/usr/bin/env python
"""Django's command line: `python manage.py help`."""

import os
import sys

from django.core.management import execute_from_command_line

from saga_service.configuration import ConfigurationError

NOWHERE = "postgresql://127.0.0.1:1/none"


def explains(arguments: list[str]) -> bool:
    """Whether this only explains a command."""
    return not {"help", "-h", "--help"}.isdisjoint(arguments)


def need_nothing() -> None:
    """What only explains needs neither secrets nor a database."""
    os.environ |= {"DEBUG": "True", "DATABASE_URL": NOWHERE}


def reads_files(arguments: list[str]) -> bool:
    """Whether this only says what is in workflow files: they are named by a dot or a slash."""
    if arguments[:1] != ["saga_definitions"] or arguments[1:2] not in (["lint"], ["export"], ["diff"]):
        return False
    named = [each for each in arguments[2:] if not each.startswith("-")]
    return len(named) > (arguments[1] == "diff") and all("." in each or "/" in each for each in named)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    if explains(sys.argv[1:]):
        need_nothing()
    elif reads_files(sys.argv[1:]):
        os.environ["DEBUG"] = "True"
        if not os.environ.get("DB_HOST"):
            os.environ["DATABASE_URL"] = os.environ.get("DATABASE_URL") or NOWHERE
    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has had enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ConfigurationError as error:
        sys.exit(str(error))
