"""Every command explains itself: what it does, each option with its default, examples, and its exit status."""

import os
import subprocess
import sys
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from importlib import import_module
from pathlib import Path

import pytest
import shtab
from django.core.management import get_commands, load_command_class

from interfaces.management.commands.saga_completion import whole_parser

ROOT = Path(__file__).parents[3]
OURS = sorted(name for name, app in get_commands().items() if app == "interfaces")
PROGRAMS = [
    *sorted(
        f"devstack.{path.stem}"
        for path in (ROOT / "devstack").glob("*.py")
        if "argparse.ArgumentParser" in path.read_text() and "__main__" in path.read_text()
    ),
    "tests.chaos.__main__",
]
DJANGOS = {
    "help",
    "version",
    "verbosity",
    "settings",
    "pythonpath",
    "traceback",
    "no_color",
    "force_color",
    "skip_checks",
}


def parsers():
    for name in OURS:
        yield from within(name, load_command_class("interfaces", name).create_parser("manage.py", name))
    for name in PROGRAMS:
        yield from within(name, import_module(name).parser())


def within(name: str, parser: ArgumentParser):
    yield name, parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for verb, part in action.choices.items():
                yield from within(f"{name} {verb}", part)


@pytest.mark.parametrize(("name", "parser"), list(parsers()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_says_what_it_does_with_examples_and_exit_status(name, parser):
    assert len(parser.description or "") > 15
    assert "examples:\n  " in parser.epilog
    assert "exit status: 0" in parser.epilog
    assert "%(" not in parser.format_help()


@pytest.mark.parametrize(("name", "parser"), list(parsers()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_has_help_and_says_its_default(name, parser):
    for action in parser._actions:
        if action.dest in DJANGOS or isinstance(action, _SubParsersAction):
            continue
        assert action.help and action.help != SUPPRESS, f"{name} {action.dest} has no help"
        takes_a_value = action.option_strings and action.nargs != 0 and not action.required
        if takes_a_value and action.default not in (None, False):
            assert "default" in action.help, f"{name} {action.dest} does not say its default"


def test_there_are_commands_to_look_at():
    assert {"saga", "saga_worker", "saga_prune", "saga_definitions", "saga_scenarios", "saga_monitor_events"} <= set(
        OURS
    )
    assert {"devstack.run", "devstack.bench", "devstack.scale", "devstack.postgres"} <= set(PROGRAMS)


@pytest.mark.parametrize("name", ["saga", *PROGRAMS])
def test_wrong_usage_gives_a_sentence_and_no_trace(name):
    start = ["manage.py", name] if name == "saga" else ["-m", name.removesuffix(".__main__")]
    environment = {**os.environ, "DEBUG": "True", "DATABASE_URL": "postgresql://saga@127.0.0.1:1/saga"}
    command = [sys.executable, *start, "--no-such-option"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "error: " in done.stderr.splitlines()[-1]


def test_make_help_explains_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = (ROOT / "Makefile").read_text().split(".PHONY:", 1)[1].splitlines()[0].split()
    assert [target for target in targets if f"make {target} " not in shown] == []


@pytest.mark.parametrize("word", ["saga_prune", "compensate", "--older-than", "COMPENSATED", "loan_approval"])
def test_completion_knows_commands_verbs_options_statuses_and_workflows(word):
    for shell in ("bash", "zsh"):
        assert word in shtab.complete(whole_parser(["loan_approval"]), shell)


def test_the_bash_script_completes_a_verb(tmp_path):
    script = tmp_path / "completion.sh"
    environment = {**os.environ, "DEBUG": "True", "DATABASE_URL": "postgresql://saga@127.0.0.1:1/saga"}
    command = [sys.executable, "manage.py", "saga_completion", "bash"]
    script.write_text(
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    )
    asked = f'. {script}; COMP_WORDS=(python manage.py saga com); COMP_CWORD=3; _saga_python; echo "${{COMPREPLY[@]}}"'
    assert subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout.split() == [
        "compensate"
    ]


def test_a_reader_that_has_had_enough_is_no_error():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "manage.py", "help"], cwd=ROOT, **pipes) as command:
        command.stdout.close()
        assert (command.stderr.read(), command.wait(60)) == (b"", 0)
