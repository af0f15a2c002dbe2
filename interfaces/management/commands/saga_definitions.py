"""Workflows as files: load them, write them, compare them, and say what is wrong with them."""

import difflib
import getpass
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError
from rest_framework.exceptions import ParseError

from domain.definition import SagaDefinition
from domain.exceptions import DefinitionInvalid, SagaError
from interfaces.command_help import ending
from interfaces.plain_text import plain
from interfaces.platform import platform
from interfaces.progress_bar import ProgressBar
from interfaces.saga_command import SagaCommand
from interfaces.wire import strict_json

EXITS = "0 all is well, 1 not (refused, different, warned of), 2 it cannot be told, or wrong usage"
EXAMPLES = {
    "load": ("load loan.json", "load fixtures/ --dry-run"),
    "export": ("export commandes > commandes.json", "export --directory workflows"),
    "diff": ("diff loan.json", "diff commandes:1 commandes:2"),
    "lint": ("lint --strict", "lint fixtures/loan.json"),
    "list": ("list",),
}
DIFFERENT, TROUBLE = 1, 2
"""Exit status: what was asked about is not so; it could not be found out."""
_WHICH = "NAME (its newest version), NAME:VERSION, or a file (its name has a dot or a slash)"


class Command(SagaCommand):
    """`python manage.py saga_definitions <what> ...`: for people, and for a pipeline that keeps workflows in files."""

    help = (
        "Workflows as JSON files, one definition each: load, export, diff, lint, list. `saga_definitions WHAT --help` "
        "explains each. Exit status: 0 all is well, 1 not (refused, different, warned of), 2 it cannot be told."
    )

    examples = ("saga_definitions list", "saga_definitions load fixtures/ --dry-run")
    exits = EXITS

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One parser for each thing that can be done."""
        actions = parser.add_subparsers(dest="what", required=True, metavar="what", parser_class=ArgumentParser)
        load = _action(actions, "load", "store definitions; all of them, or, when one is refused, none")
        load.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a JSON file, or a directory of them")
        load.add_argument("--dry-run", action="store_true", help="only say what would happen")
        load.add_argument("--shipped", action="store_true", help="new versions of workflows that ship are meant")
        load.add_argument("--actor", default=getpass.getuser(), help="who; kept too (default: you, %(default)s)")
        export = _action(actions, "export", "write a definition as canonical JSON, which loads back identically")
        export.add_argument("which", nargs="*", metavar="WHICH", help=f"{_WHICH} (default: every stored version)")
        export.add_argument("--directory", type=Path, metavar="DIR", help="into files NAME.VERSION.json here")
        diff = _action(actions, "diff", "show what changed, as a unified diff of canonical JSON; 1 when something did")
        diff.add_argument("before", metavar="BEFORE", help=f"{_WHICH}")
        diff.add_argument(
            "after",
            metavar="AFTER",
            nargs="?",
            help="the same; left out, BEFORE is a file: what is stored as its version (else the newest) is compared "
            "with it",
        )
        lint = _action(actions, "lint", "name every fault, and what is allowed and probably not meant")
        lint.add_argument("which", nargs="*", metavar="WHICH", help=f"{_WHICH} (default: every stored version)")
        lint.add_argument("--strict", action="store_true", help="exit with 1 for a warning, too")
        _action(actions, "list", "every stored version; * is the one under which new sagas start")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it; what is refused is said without a trace."""
        given = Namespace(**options)
        with _said():
            getattr(self, f"_{given.what}")(given)

    def _load(self, given: Namespace) -> None:
        contents = [(file, _read(file)) for file in _files(given.files)]
        publish = partial(platform().publisher.publish, by=given.actor, shipped=given.shipped)
        tried = []
        with ProgressBar("checking", len(contents), "files") as bar:
            for file, content in contents:
                tried.append(self._tells_faults(file, partial(publish, content, dry_run=True)))
                bar.advance(file.name)
        refused = tried.count(None) + self._twice([outcome[0] for outcome in tried if outcome])
        if refused:
            raise CommandError(f"{refused} of {len(contents)} refused; nothing was stored", returncode=DIFFERENT)
        for file, content in contents:
            definition, is_new = publish(content, dry_run=given.dry_run)
            done = "unchanged" if not is_new else "would be stored" if given.dry_run else "stored"
            self.stdout.write(f"{file}: {definition.name} version {definition.version} {done}")

    def _twice(self, definitions: list[SagaDefinition]) -> int:
        """How many of the definitions are another content under the version of one before them."""
        seen: dict[tuple[str, int], SagaDefinition] = {}
        twice = [each for each in definitions if seen.setdefault((each.name, each.version), each) != each]
        for definition in twice:
            self.stderr.write(f"error: {definition.name} version {definition.version} is there twice, and differs")
        return len(twice)

    def _export(self, given: Namespace) -> None:
        chosen = [_definition(which) for which in given.which] or _all()
        if given.directory is None:
            if len(chosen) != 1:
                raise CommandError(f"{len(chosen)} definitions: name one, or a --directory", returncode=TROUBLE)
            self.stdout.write(_text(chosen[0]), ending="")
            return
        given.directory.mkdir(parents=True, exist_ok=True)
        for definition in chosen:
            file = given.directory / f"{definition.name}.{definition.version}.json"
            file.write_text(_text(definition), encoding="utf-8")
            self.stdout.write(str(file))

    def _diff(self, given: Namespace) -> None:
        if given.after is None:
            if not _is_file(given.before):
                raise CommandError("diff: say what to compare it with", returncode=TROUBLE)
            after = _definition(given.before)
            before, names = _stored_like(after), (f"stored {after.name}", given.before)
        else:
            before, after = _definition(given.before), _definition(given.after)
            names = (given.before, given.after)
        found = list(difflib.unified_diff(_text(before).splitlines(), _text(after).splitlines(), *names, lineterm=""))
        for line in found:
            self.stdout.write(line)
        if found:
            raise SystemExit(DIFFERENT)

    def _lint(self, given: Namespace) -> None:
        wrong = 0
        for which in given.which or [f"{each.name}:{each.version}" for each in _all()]:
            definition = self._tells_faults(which, partial(_definition, which))
            findings = platform().publisher.findings(definition) if definition else []
            for finding in findings:
                self.stdout.write(f"{which}: {finding.severity}: {finding.path}: {plain(finding.message)}")
            wrong += definition is None or (given.strict and any(each.severity == "warning" for each in findings))
        if wrong:
            raise SystemExit(DIFFERENT)

    def _list(self, _given: Namespace) -> None:
        definitions = _all()
        newest = {definition.name: definition.version for definition in definitions}
        for definition in definitions:
            mark = "*" if newest[definition.name] == definition.version else " "
            steps = ", ".join(step.name for step in definition.steps)
            title = plain(definition.title)
            self.stdout.write(f"{definition.name:<24} {definition.version:>4}{mark}  {title}  [{steps}]")

    def _tells_faults(self, where: object, act: Any) -> Any:
        """What the act gives; None, and every fault on standard error, when the definition is refused."""
        try:
            return act()
        except DefinitionInvalid as error:
            for fault in error.faults:
                self.stderr.write(f"{where}: error: {fault}")
        except SagaError as error:
            self.stderr.write(f"{where}: error: {error}")
        return None


def _action(actions: Any, name: str, text: str) -> ArgumentParser:
    parser: ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        **ending(*(f"manage.py saga_definitions {example}" for example in EXAMPLES[name]), exits=EXITS),
    )
    return parser


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except DefinitionInvalid as error:
        raise CommandError("\n".join(error.faults), returncode=TROUBLE) from None
    except SagaError as error:
        raise CommandError(str(error), returncode=TROUBLE) from None
    except (OperationalError, InterfaceError) as error:
        raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=TROUBLE) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", returncode=TROUBLE) from None


def _files(given: list[Path]) -> list[Path]:
    """The files, those of a directory by their names."""
    found = [file for path in given for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not found:
        raise CommandError("there is no *.json in the directory", returncode=TROUBLE)
    return found


def _read(file: Path) -> Any:
    try:
        return strict_json(file.read_bytes())
    except ParseError as error:
        raise CommandError(f"{file}: {error.detail}", returncode=TROUBLE) from None


def _is_file(which: str) -> bool:
    return "." in which or "/" in which


def _definition(which: str) -> SagaDefinition:
    """A stored definition, or one in a file. Raises DefinitionInvalid or WorkflowUnknown."""
    if _is_file(which):
        content = _read(Path(which))
        try:
            return platform().publisher.examine(content)
        except (OperationalError, InterfaceError):  # a file is judged without a database too
            return platform().publisher.examine(content, new=True)
    name, colon, version = which.partition(":")
    definitions = platform().publisher.definitions
    if not colon:
        return definitions.newest(name)
    if not version.isdecimal():
        raise CommandError(f"{which!r} must be {_WHICH}", returncode=TROUBLE)
    return definitions.version(name, int(version))


def _stored_like(definition: SagaDefinition) -> SagaDefinition:
    """What is stored under its version, or else the newest of its name."""
    stored = [each for each in _all() if each.name == definition.name]
    same = [each for each in stored if each.version == definition.version]
    if not stored:
        raise CommandError(f"there is no workflow {definition.name!r} yet", returncode=TROUBLE)
    return (same or stored)[-1]


def _all() -> list[SagaDefinition]:
    return list(platform().publisher.definitions.all())


def _text(definition: SagaDefinition) -> str:
    """Canonical JSON: fields in the order in which docs/workflows.md has them, free names sorted."""
    content = platform().publisher.definitions.content(definition)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
