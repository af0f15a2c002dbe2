"""The catalogues of translations: all that the source says, said in every language, and compiled as it is written."""

import re

import pytest

from devstack import messages
from saga_service import __version__

MARKED = messages.marked()
_PLACEHOLDER = re.compile(r"%\(\w+\)[-.0-9]*[a-z]|(?<!\$)\{\w+\}")

languages = pytest.mark.parametrize("language", messages.LANGUAGES)


def texts(part):
    return (part,) if isinstance(part, str) else tuple(part)


def translations(language):
    """Each message with what it is in that language, as texts: one, or a plural's forms."""
    return {texts(each.id): texts(each.string) for each in messages.stored(language) if each.id}


def placeholders(text):
    return sorted(_PLACEHOLDER.findall(text))


def test_what_is_marked_is_found_in_templates_programs_and_the_domain():
    found = {text for each in MARKED for text in texts(each.id)}

    assert {
        "Skip to the content",  # a template
        "%(counter)s remarks",  # a template's plural
        "Try again now",  # a page's program
        "must be a UUID",  # what the API says too
        "No undo is owed.",  # the application
        "Resume it first.",  # the domain
        "There is no saga with that id.",  # an error's docstring
        "Run the saga",  # the test page
        "Starting",  # its script
    } <= found
    assert len(found) > 500
    assert not any(text.isspace() for text in found)


@languages
def test_a_catalogue_has_every_message_of_the_source_and_no_other(language):
    assert translations(language).keys() == {texts(each.id) for each in MARKED if each.id}, "make messages"


@languages
def test_every_message_is_translated_and_no_translation_is_a_guess(language):
    catalog = messages.stored(language)

    assert not [each.id for each in catalog if each.id and not all(text.strip() for text in texts(each.string))]
    assert not [each.id for each in catalog if each.id and each.fuzzy]
    assert not catalog.obsolete
    plurals = [each for each in catalog if each.pluralizable]
    assert plurals
    assert all(len(each.string) == catalog.num_plurals for each in plurals)


@languages
def test_a_translation_puts_in_what_its_message_puts_in(language):
    for message, forms in translations(language).items():
        expected = [placeholders(text) for text in message]
        assert all(placeholders(form) in expected for form in forms), (message, forms)
        assert placeholders(forms[-1]) == expected[-1], (message, forms)


@languages
def test_a_translation_begins_and_ends_as_its_message_and_breaks_no_page(language):
    for message, forms in translations(language).items():
        for form in forms:
            assert not set("<>&") & set(form), form
            assert ('"' in form) == ('"' in message[0]), "it may stand in an attribute"
            assert form == form.strip(), form
            for end in ("…", ":", "."):
                assert message[0] == "No." or form.endswith(end) == message[-1].endswith(end), (message, form)


@languages
def test_what_is_compiled_is_what_is_written(language):
    path = messages.path_of(language)

    assert path.with_suffix(".mo").read_bytes() == messages.compiled(messages.stored(language)), "make messages"


@languages
def test_making_the_catalogues_again_changes_nothing(language):
    renewed = messages.renewed(language, MARKED)

    assert messages.written(renewed) == messages.path_of(language).read_bytes(), "make messages"


def test_a_new_language_begins_with_every_message_and_no_translation(monkeypatch, tmp_path):
    monkeypatch.setattr(messages, "LOCALE", tmp_path)
    monkeypatch.setattr(messages, "LANGUAGES", ("de",))

    assert messages.main() == 1, "there is something to be translated"

    begun = messages.stored("de")
    assert {texts(each.id) for each in begun if each.id} == {texts(each.id) for each in MARKED if each.id}
    assert not any("".join(texts(each.string)) for each in begun if each.id)
    assert f"saga-orchestrator {__version__}" in (tmp_path / "de/LC_MESSAGES/django.po").read_text()
