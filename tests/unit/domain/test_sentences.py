"""Sentences: texts like any other, which know what they were made of."""

import copy

from domain.exceptions import NotAllowed, SagaNotFound
from domain.sentences import joined, said


def test_a_sentence_is_its_text_and_keeps_its_template_and_parts():
    sentence = said("%(step)s has %(n)s items", step="pay", n=3)

    assert sentence == "pay has 3 items"
    assert (sentence.template, sentence.parts) == ("%(step)s has %(n)s items", {"step": "pay", "n": 3})
    assert type(str(sentence)) is str


def test_sentences_are_joined_and_empty_ones_left_out():
    first, last = said("It is %(status)s.", status="PAUSED"), said("Resume it first.")

    together = joined(first, "", last)
    assert together == "It is PAUSED. Resume it first."
    assert list(together.parts.values()) == [first, last]
    assert joined() == ""


def test_a_copy_is_the_same_sentence():
    sentence = copy.deepcopy(said("to %(who)s", who="Anna"))

    assert (sentence, sentence.template, sentence.parts) == ("to Anna", "to %(who)s", {"who": "Anna"})


def test_an_error_says_its_sentence():
    error = NotAllowed(said("A %(status)s saga has nothing to retry.", status="FAILED"))

    assert str(error) == error.sentence == "A FAILED saga has nothing to retry."
    assert error.sentence.parts == {"status": "FAILED"}
    assert SagaNotFound().sentence == "There is no saga with that id."
