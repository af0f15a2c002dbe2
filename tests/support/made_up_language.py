"""A language in which every text of the catalogues stands in brackets, and what a page shows outside of them."""

import re
from gettext import NullTranslations
from html.parser import HTMLParser

from domain.events import EventType, SagaStatus
from domain.workflows import shipped_definitions


class Bracketed(NullTranslations):
    """Stands in for Django's own object of a language, whose catalogues say what there is to be said."""

    def __init__(self, like):
        super().__init__()
        self._known = {key[0] if isinstance(key, tuple) else key for key in like._catalog.keys()}  # noqa: SIM118
        self.language, self.to_language = like.language, like.to_language

    def gettext(self, message):
        return f"⟦{message.rpartition(chr(4))[2]}⟧" if message in self._known else message

    def ngettext(self, one, many, number):
        if one not in self._known:
            return one if number == 1 else many
        return f"⟦{one if number == 1 else many}⟧"


_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
_DATA = {"script", "style", "pre", "code", "time", "textarea", "tspan"}
"""Elements whose text is what participants, people and workflows gave, or a time."""
_SHOWN = {"aria-label", "title", "placeholder", "alt", "data-label", "data-auto", "data-light", "data-dark"}


class Visible(HTMLParser):
    """The texts that a page shows or says, but data."""

    def __init__(self, html):
        super().__init__()
        self.texts, self._open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.handle_startendtag(tag, attributes)
        if tag not in _VOID:
            data = tag in _DATA or "id" in (given.get("class") or "").split() or (tag == "option" and "lang" in given)
            self._open.append((tag, data))

    def handle_startendtag(self, _tag, attributes):
        self.texts += [text for name, text in attributes if name in _SHOWN and text]

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, text):
        if text.strip() and not any(data for _tag, data in self._open):
            self.texts.append(" ".join(text.split()))


_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_WORD = re.compile(r"[\w.:/\[\]-]*[^\W\d_]{2,}[\w.:/\[\]-]*")
_VERSION_OR_ITEM = re.compile(r"^v\d+$|(\[\d+\])+$")
_UNITS = {"UTC", "HTTP", "JSON", "p95", "ms", "min", "Idempotency-Key"}


class Published:
    """The words of workflows, and those that are the same in every language; `given` are the test's own."""

    def __init__(self, given):
        self._phrases, self._words = set(), {*given, *_UNITS, *map(str, SagaStatus), *map(str, EventType)}
        for definition in shipped_definitions():
            schema = definition.input_schema
            self._phrases |= {definition.title, *_texts(schema, "title", "description")} - {""}
            self._words |= {
                definition.name,
                *definition.business_ids,
                *_names(schema),
                *_texts(schema, "enum", "const"),
            }
            self._words |= {word for words in definition.states_by_status().values() for word in words}
            for step in definition.steps:
                sent = [each.topic for each in (step.publish, step.undo_publish, step.awaits) if each and each.topic]
                awaited = step.awaits.types if step.awaits else ()
                self._words |= {step.name, *sent, *awaited, *(request.service for request in step.requests)}

    def left(self, text):
        """The words that a text has outside of brackets and that are none of these."""
        text = _ID.sub(" ", _outside_of_brackets(text))
        for phrase in sorted(self._phrases, key=len, reverse=True):
            text = text.replace(phrase, " ")
        bare = [_VERSION_OR_ITEM.sub("", word.strip(".,:;")) for word in _WORD.findall(text)]
        return [word for word in bare if word and word not in self._words]


def _outside_of_brackets(text):
    shown, depth = [], 0
    for letter in text:
        depth += letter == "⟦"
        shown.append(" " if depth else letter)
        depth -= letter == "⟧"
    return "".join(shown)


def _parts(schema):
    """A schema and all schemas in it."""
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list | tuple) else ():
        yield from _parts(part)


def _names(schema):
    return {name for part in _parts(schema) for name in part}


def _texts(schema, *keys):
    found = [part[key] for part in _parts(schema) for key in keys if key in part]
    return {str(text) for each in found for text in (each if isinstance(each, list | tuple) else [each])}
