"""Completion for a shell: verbs, options, workflows and statuses."""

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from typing import Any

import shtab
from django.core.management import get_commands, load_command_class
from django.db import Error

from domain.exceptions import SagaError
from domain.workflows import shipped_definitions
from interfaces.platform import platform
from interfaces.saga_command import SagaCommand

_BY_PYTHON = {
    "bash": """
# `python manage.py ...` is completed as `manage.py ...` is; other programs of python's as before.
_saga_python() {
    if [[ ${COMP_WORDS[1]##*/} != manage.py ]]; then COMPREPLY=(); return; fi
    COMP_WORDS=("${COMP_WORDS[@]:1}"); COMP_CWORD=$((COMP_CWORD - 1)); _shtab_manage_py
}
complete -o bashdefault -o default -F _saga_python python python3 .venv/bin/python
""",
    "zsh": "",
}


class Command(SagaCommand):
    """`manage.py saga_completion bash`."""

    help = (
        "Print a completion script for a shell: commands, verbs, options, statuses, and the workflows that there are "
        "now (without a database, those that ship)."
    )
    examples = (
        'saga_completion bash > ~/.saga-completion && echo ". ~/.saga-completion" >> ~/.bashrc',
        "saga_completion zsh",
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument("shell", choices=sorted(_BY_PYTHON), help="for which shell")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the script."""
        script = shtab.complete(whole_parser(_workflows()), options["shell"], root_prefix="manage_py")
        self.stdout.write(script + _BY_PYTHON[options["shell"]])


def whole_parser(workflows: list[str]) -> ArgumentParser:
    """One parser of all saga commands, in which a workflow is one of these."""
    parser = ArgumentParser(prog="manage.py")
    commands = parser.add_subparsers()
    for name in sorted(name for name in get_commands() if name.startswith("saga")):
        command = load_command_class("interfaces", name)
        command.add_arguments(commands.add_parser(name, help=command.help))
    for each in _parsers(parser):
        for action in each._actions:  # noqa: SLF001 - argparse shows its options nowhere else
            if action.dest == "workflow" and not action.choices:
                action.choices = workflows
    return parser


def _parsers(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    yield parser
    for action in parser._actions:  # noqa: SLF001 - as above
        if isinstance(action, _SubParsersAction):
            for part in action.choices.values():
                yield from _parsers(part)


def _workflows() -> list[str]:
    try:
        return sorted({definition.name for definition in platform().publisher.definitions.all()})
    except (Error, SagaError):
        return sorted({definition.name for definition in shipped_definitions()})
