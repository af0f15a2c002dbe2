"""The console's languages: whatever a page says can be said in each, and the API says what it says in English.

Hard-coded English is found by a made-up language, which puts every text of the catalogues in brackets: a word that is
shown and stands in none is neither data nor a published word, and nobody could translate it.
"""

import json
import re
from html import unescape
from pathlib import Path
from unicodedata import normalize

import api_support
import pytest
from api_support import START, UNKNOWN_ID
from console_support import GIVEN, Visit, begun, parked
from django.conf import settings as django_settings
from django.contrib.staticfiles import finders
from django.db import OperationalError
from django.test import Client
from django.utils.translation import override, trans_real

from application.operations import WHOLE
from devstack import messages
from domain import outcomes
from domain.events import Action, EventType
from domain.lint import Severity
from domain.sentences import said
from interfaces.console import words
from interfaces.templatetags import console as filters
from tests.support.made_up_language import Bracketed, Published, Visible

api = api_support.api

_LITERAL = re.compile(r'"([^"\n]*)"|`([^`]*)`')
_PROSE = re.compile(r"[A-Za-z]{2,}[ ,]+[A-Za-z]{2,}|^[A-Z][a-z]+")
"""Two words, or one that begins as a sentence does."""


def read(answer):
    """A page's texts."""
    return Visible(answer.content.decode()).texts


def shown(pages):
    """The pages among the answers: not the ways to others."""
    return [(name, answer) for name, answer in pages if answer.status_code not in {302, 303}]


def test_no_page_says_anything_that_cannot_be_translated(api, settings, monkeypatch):
    monkeypatch.setitem(trans_real._translations, "vi", Bracketed(trans_real.translation("vi")))
    published, untranslatable = Published(GIVEN), {}
    pages = shown(Visit(api, settings, "vi").pages())

    for name, answer in pages:
        assert (answer.status_code < 500, answer.headers["Content-Language"]) == (True, "vi"), name
        for text in read(answer):
            untranslatable |= {(word, text): name for word in published.left(text)}
    assert not untranslatable, "\n".join(
        f"{word!r} in {text!r} of {name}" for (word, text), name in untranslatable.items()
    )
    assert len(pages) > 100


def test_a_text_that_nobody_marked_is_found():
    page = "<p title='Hello'>⟦Status⟧: COMPLETED <b>not marked</b> <code>GET x</code></p>"

    assert [Published({"me"}).left(text) for text in Visible(page).texts] == [["Hello"], [], ["not", "marked"]]


@pytest.mark.parametrize("script", ["console/console.js", "console/theme.js", "saga/test.js"])
def test_no_script_brings_words_of_its_own(script):
    source = re.sub(r"(^|\s)//.*", "", Path(finders.find(script)).read_text(encoding="utf-8"))
    texts = [quoted or re.sub(r"\$\{[^}]*\}", "", composed) for quoted, composed in _LITERAL.findall(source)]

    assert len(texts) > 1
    assert {text for text in texts if _PROSE.search(text)} <= {"use strict", "input, select, textarea", "Content-Type"}


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_page_is_in_the_language_that_was_asked_for(api, settings, language):
    """None of the English texts that have at least three words and are another in this language is on any page."""
    texts = [(each.id, each.string) for each in messages.stored(language) if isinstance(each.id, str)]
    english = [text for text, own in texts if text.count(" ") > 1 and "%" not in text and own != text]

    for name, answer in shown(Visit(api, settings, language).pages()):
        assert f'<html lang="{language}">' in answer.content.decode(), name
        told = "\n".join(read(answer))
        assert not [text for text in english if text in told], name


# --- which language ---------------------------------------------------------------------------------------------------


def test_the_languages_offered_are_those_that_there_are_catalogues_of():
    assert [code for code, _name in django_settings.LANGUAGES] == ["en", *messages.LANGUAGES]
    assert sorted(path.name for path in messages.LOCALE.iterdir()) == sorted(messages.LANGUAGES)


def test_the_language_that_was_chosen_in_the_console_is_that_of_the_test_page_too(api, settings):
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "FAULT_INJECTION": True}
    browser = Client(headers={"Accept-Language": "es"})

    unchosen = browser.get("/saga/test")
    assert (unchosen.headers["Content-Language"], "Ejecutar la saga" in unchosen.content.decode()) == ("es", True)
    browser.post("/console/language/", {"language": "fr", "next": "/console/"})
    assert browser.cookies["django_language"]["path"] == "/"
    chosen = browser.get("/saga/test").content.decode()
    assert '<html lang="fr">' in chosen
    shown = json.loads(re.search(r'<script id="shown" type="application/json">(.*?)</script>', chosen)[1])
    assert shown["words"]["events"]["step_failed"] == "étape échouée"


def test_a_language_that_there_is_not_is_english(api):
    answer = Client(headers={"Accept-Language": "de"}).get("/console/")

    assert (answer.headers["Content-Language"], "Live now" in answer.content.decode()) == ("en", True)


def test_the_login_is_in_the_browsers_language(api):
    answer = Client(headers={"Accept-Language": "fr"}).post("/console/login/", {"username": "a", "password": "b"})

    assert "Mot de passe" in answer.content.decode()
    assert answer.headers["Content-Language"] == "fr"


def test_a_forged_form_is_refused_in_the_browsers_language_and_elsewhere_as_django_does(api):
    strict = Client(enforce_csrf_checks=True, headers={"Accept-Language": "fr"})

    forged = strict.post("/console/workflows/commandes/start/")
    assert (forged.status_code, "n'est pas de ce site" in unescape(forged.content.decode())) == (403, True)
    assert "default-src 'none'" in forged.headers["Content-Security-Policy"]
    assert b"CSRF" in strict.post("/admin/login/").content


def test_a_database_that_is_away_is_told_in_the_browsers_language(api, monkeypatch):
    def away(*_arguments, **_named):
        raise OperationalError

    monkeypatch.setattr("interfaces.console.sagas.page_of_sagas", away)
    answer = Client(headers={"Accept-Language": "es"}).get("/console/")

    assert (answer.status_code, "La base de datos no responde" in answer.content.decode()) == (503, True)


# --- the API ----------------------------------------------------------------------------------------------------------


def test_the_api_answers_in_english_whatever_language_is_asked_for(api):
    stuck = parked(api)
    done = begun(api)
    calls = [
        ("GET", f"/api/sagas/transactions/{stuck}/", None),
        ("GET", f"/api/sagas/transactions/{UNKNOWN_ID}/", None),
        ("POST", f"/api/sagas/transactions/{done}/retry/", {"reason": "WHY-7"}),
        ("POST", f"/api/sagas/transactions/{done}/retry/", {}),
        ("GET", "/api/sagas/transactions/?status=x&cursor=x&active=x&limit=x&nonsense=1&created_after=x", None),
        ("POST", START, {"workflow": "commandes", "input": {}}),
        ("POST", START, {"workflow": "nothing", "input": {}}),
        ("POST", START, []),
        ("PUT", START, {}),
        ("GET", "/api/sagas/definitions/commandes/1/", None),
        ("GET", "/api/nowhere/", None),
        ("GET", "/saga/test", None),
        ("GET", "/sagas/x/status", None),
    ]

    def answers(**headers):
        given = [api.call(method, path, body, **headers) for method, path, body in calls]
        given.append(api.call("POST", START, raw=b"{", **headers))
        given.append(api.call("POST", START, raw=b"x", Content_Type="text/plain", **headers))
        given.append(api.get("/api/sagas/transactions/", X_API_Key="wrong", **headers))
        return [(answer.status_code, answer.content) for answer in given]

    english = answers()
    api.http.get(f"/console/sagas/{stuck}/", headers={"Accept-Language": "fr"})
    assert answers(Accept_Language="fr") == english
    api.http.cookies["django_language"] = "vi"
    assert answers(Accept_Language="es") == english
    assert b"Still owed: the undo of wallet_credit" in english[0][1]


# --- what the domain says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "published",
    [
        *EventType, *Action, *Severity, *WHOLE, "skip", "done", "not_done", "sent", "deadline", "operator",
        *(each.kind for each in (outcomes.Succeeded, outcomes.Rejected, outcomes.Unavailable, outcomes.Unknown)),
    ],
)  # fmt: skip
def test_every_published_word_for_people_has_its_words(published):
    assert published in words.WORDS


def test_a_sentence_is_translated_with_the_sentences_in_it():
    inner = said("put off: %(reason)s", reason="NO-5")
    parts = {"place": "pay", "call": said("the undo"), "service": "bank", "number": 1, "most": 3, "due": "now"}
    whole = said(
        "%(place)s: %(call)s to %(service)s, attempt %(number)s of %(most)s, %(due)s; %(last)s.", **parts, last=inner
    )

    with override("es"):
        assert words.translated(whole) == "pay: la compensación a bank, intento 1 de 3, now; aplazada: NO-5."
    assert words.translated(whole) == str(whole)


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ("is required", "est obligatoire"),
        ("is less than the minimum of 1.5", "est inférieur au minimum de 1.5"),
        ("has less than 1 item", "a moins de 1 élément"),
        ('is not of types "null", "integer"', 'n\'est d\'aucun des types "null", "integer"'),
        ('is not one of "a b", "c" or 3', 'n\'est pas parmi "a b", "c" ou 3'),
        ('is not one of "a", "b" or 6 other candidates', 'n\'est pas parmi "a", "b" ou 6 autres possibilités'),
        ('does not match "^[a-z]{2,3}$"', 'ne correspond pas à "^[a-z]{2,3}$"'),
        ("1 was expected", "1 était attendu"),
        ("is something else, 7", "is something else, 7"),
    ],
)
def test_the_fault_of_an_input_is_translated_and_one_that_nobody_knows_is_left(english, french):
    with override("fr"):
        assert words.fault(english) == french
    assert words.fault(english) == english


def test_the_engines_own_reasons_are_translated_and_those_of_others_are_left():
    with override("fr"):
        assert words.reason("the deadline passed") == "l'échéance est passée"
        assert words.reason("pay failed after the point of no return: cannot connect: X") == (
            "pay a échoué après le point de non-retour\xa0: connexion impossible\xa0: X"
        )
        assert words.reason("the account is closed") == "the account is closed"
        assert words.reason("") == ""


def test_the_engines_own_reasons_are_those_that_it_gives():
    files = [
        path for part in ("domain", "application", "infrastructure") for path in (messages.ROOT / part).glob("*.py")
    ]
    source = " ".join(path.read_text(encoding="utf-8") for path in files)
    for template in words.REASONS:
        for part in re.split(r"%\(\w+\)s|, ", template):
            assert part.strip(" :,") in source, template


def test_each_language_is_offered_by_its_own_name(api):
    shown = normalize("NFC", Client(headers={"Accept-Language": "fr"}).get("/console/").content.decode())

    assert re.findall(r'<option value="\w\w" lang="\w\w"[^>]*>([^<]+)', shown) == [
        "English", "Français", "Español", "Tiếng Việt",
    ]  # fmt: skip


def test_numbers_and_colons_are_written_as_the_language_does():
    with override("fr"):
        assert (filters.share(0.429), filters.seconds(2.04), filters.seconds(0.0875)) == ("42,9 %", "2,04 s", "87,5 ms")
        assert filters.after("refusé", "pay") == "pay\xa0: refusé"
        assert filters.together(["un", "deux", "trois"]) == "un\xa0; deux\xa0; trois"
    assert (filters.share(0.429), filters.after("refused", "pay"), filters.together(["a", "b"])) == (
        "42.9 %", "pay: refused", "a; b",
    )  # fmt: skip
