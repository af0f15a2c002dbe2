"""The catalogues of the console's languages: found in the source, kept in interfaces/locale, and compiled.

`make messages` brings them up to date: what is new in the source is there to be translated, what is gone is gone, and
the .mo files are what the .po files say. No GNU gettext: Babel reads Python, and Django itself the templates.
"""

import ast
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

from saga_service import __version__

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "interfaces" / "locale"
LANGUAGES = ("fr", "es", "vi")
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop", "noted", "said"), None),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
}
"""Functions whose literal argument is for translators; `said` is the domain's (domain/sentences.py)."""
_SOURCES = ("interfaces/**/*.py", "domain/**/*.py", "application/**/*.py", "infrastructure/*.py")
_TEMPLATES = ("interfaces/templates/console/*.html", "interfaces/templates/saga/*.html")
_ERRORS = "domain/exceptions.py"
"""Its classes' docstrings are what they say."""
_WIDTH = 118


def marked() -> Catalog:
    """Every message of the source, with the files that have it."""
    catalog = Catalog(project="saga-orchestrator", charset="utf-8")
    for path in _files(*_SOURCES):
        for _line, message, _comments, _context in _found(path.read_bytes()):
            catalog.add(message, locations=[(_name(path), 0)])
        if _name(path) == _ERRORS:
            for message in _docstrings(path.read_text()):
                catalog.add(message, locations=[(_name(path), 0)])
    for path in _files(*_TEMPLATES):
        # As Python, in brackets: a template is not indented as Python is.
        source = f"({templatize(path.read_text())}\n)"
        for _line, message, _comments, _context in _found(source.encode()):
            catalog.add(message, locations=[(_name(path), 0)])
    return catalog


def _files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _found(source: bytes) -> Iterator[tuple[int, str | tuple[str, ...], list[str], str | None]]:
    return extract("python", BytesIO(source), KEYWORDS)


def _docstrings(source: str) -> list[str]:
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return [text.strip() for node in classes if (text := ast.get_docstring(node, clean=False))]


def path_of(language: str) -> Path:
    """The language's catalogue; beside it lies what it compiles to, `.mo`."""
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def stored(language: str) -> Catalog:
    """The language's catalogue as it is stored; an empty one, where there is none."""
    if not path_of(language).exists():
        return Catalog(
            locale=language,
            header_comment="# The console's texts. `make messages` keeps and compiles them; docs/console.md says how.",
            project="saga-orchestrator",
            version=__version__,
            last_translator="the authors",
            msgid_bugs_address="none",
            language_team=language,
            revision_date=datetime.now(UTC),
            fuzzy=False,
        )
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def renewed(language: str, messages: Catalog) -> Catalog:
    """The stored catalogue with just these messages; a new one has no translation yet, and none is guessed."""
    catalog = stored(language)
    created = catalog.creation_date
    catalog.update(messages, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.creation_date = created  # the day on which a program ran is no news
    return catalog


def written(catalog: Catalog) -> bytes:
    """The .po file."""
    file = BytesIO()
    write_po(file, catalog, width=_WIDTH, include_lineno=False, sort_output=True)
    return file.getvalue()


def compiled(catalog: Catalog) -> bytes:
    """The .mo file."""
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def main() -> int:
    """Write every catalogue, and say what is still to be translated."""
    messages, missing = marked(), 0
    for language in LANGUAGES:
        catalog, path = renewed(language, messages), path_of(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(catalog))
        path.with_suffix(".mo").write_bytes(compiled(catalog))
        untranslated = [message for message in catalog if message.id and not all(_strings(message.string))]
        missing += len(untranslated)
        print(f"{language}: {len(catalog)} messages, {len(untranslated)} to be translated: {path}")
    return 1 if missing else 0


def _strings(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(text) if isinstance(text, list | tuple) else (text or "",)


if __name__ == "__main__":
    sys.exit(main())
