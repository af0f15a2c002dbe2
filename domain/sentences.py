"""Sentences for people: texts in English, which keep what a page needs to say them in another language.

The domain and the application say `said("The saga is %(status)s.", status=...)`. The literal is what translators find;
programs, the command line and logs read the text, which is a `str` like any other.
"""


class Sentence(str):
    """A text that was made of a template, and knows of which, with which parts."""

    __slots__ = ("parts", "template")
    template: str
    parts: dict[str, object]


def said(template: str, **parts: object) -> Sentence:
    """The template with its parts, `%(name)s`; a part that is a sentence itself is translated by itself."""
    sentence = Sentence(template % parts)
    sentence.template, sentence.parts = template, parts
    return sentence


def joined(*sentences: str) -> Sentence:
    """One after the other; an empty one is left out."""
    parts = {f"part{number}": sentence for number, sentence in enumerate(filter(None, sentences))}
    template = " ".join(f"%({name})s" for name in parts)
    return said(template, **parts)
