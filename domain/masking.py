"""What people need not see of a saga: personal data and secrets, known by the names that they stand under.

A name is compared by its words, in any spelling: `card_number`, `cardNumber`, `Card-Number2`, `cardnumber`. A phrase of
`ANYWHERE` masks a name that has it anywhere (`customer_email_address`), one of `AT_THE_END` a name that ends with it:
`access_token`, but not `token_id`. A definition adds names of its own, which are compared whole.

What stays to be seen: ids (`client_id`, `correlation_id`), and what things and firms are called (`name`, `nom`,
`partner_name`, `product_name`), because by these a saga is known.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from domain.definition import SagaDefinition

MASK = "•••"
SHORTEST = 4
"""Characters of a masked value that is looked for in texts; a shorter one is in too many words."""
FEWEST_DIGITS = 6
"""Digits of a masked value that is looked for however it is grouped: `4111 1111`, `4111-1111`, `41111111`."""
DEEPEST = 100
"""Levels of a value; what is deeper is masked as a whole, since nobody reads it and Python's own levels end."""

ANYWHERE = (
    # secrets
    "password", "passwd", "pwd", "passphrase", "mot de passe", "contrasena", "secret", "credential", "api key",
    "private key", "secret key", "access key",
    # means of payment
    "card number", "credit card", "debit card", "numero de carte", "numero carte", "carte bancaire", "numero tarjeta",
    "numero de tarjeta", "cardholder", "card holder", "cvv", "cvc", "iban", "bank account",
    # how to reach a person
    "email", "e mail", "courriel", "correo", "phone", "telephone", "telefono", "telefon", "mobile number",
    "adresse postale", "postal address", "home address", "delivery address", "shipping address", "billing address",
    "street address",
    # who a person is
    "passport", "passeport", "pasaporte", "date of birth", "birth date", "birthday", "birth day", "date de naissance",
    "date naissance", "fecha de nacimiento", "fecha nacimiento", "ssn", "social security", "securite sociale",
    "national id", "identity card", "driving licence", "driving license", "driver licence", "driver license",
    "first name", "last name", "middle name", "maiden name", "given name", "family name", "full name", "surname",
    "forename", "prenom", "nom de famille", "nom complet", "apellido", "nombre completo", "holder name",
    "passenger name", "customer name", "client name", "contact name", "person name", "recipient name", "guest name",
    "patient name", "traveller name", "traveler name", "employee name",
)  # fmt: skip
AT_THE_END = ("token", "authorization", "otp", "pin", "pan", "dob", "dni", "mail", "mobile", "fax")

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LONGEST = 4
"""Words of a phrase."""
_NUMBER = re.compile(r"[0-9A-Za-z\s().+/-]+")
_GROUPED = r"(?:[\s().+/-]|%20)*"
_ALSO = {" ": ("+",), "/": (r"\/",)}
"""How forms and some writers of JSON write these."""


def masked(value: Any, definition: SagaDefinition) -> Any:
    """The JSON value as people may see it: what stands under a masked name is `MASK` as a whole, but null."""
    return mask_for(definition)(value)


def mask_for(definition: SagaDefinition, *given: Any) -> Callable[[Any], Any]:
    """What masks the values of one saga: as `masked` does, and what is masked in `given` in every text besides.

    `given` is its input, and what its steps gave: an error's text may repeat it.
    """
    own = frozenset(name.casefold() for name in definition.masked)
    hidden = frozenset(text for part in given for text in _hidden(part, own, DEEPEST))

    def mask(value: Any, levels: int = DEEPEST) -> Any:
        if isinstance(value, str):
            return _spellings(hidden).sub(MASK, value) if hidden else value
        if not isinstance(value, Mapping | list | tuple):
            return value
        if not levels:
            return MASK
        if isinstance(value, Mapping):
            return {name: _seen(name, part, own) or mask(part, levels - 1) for name, part in value.items()}
        return [mask(part, levels - 1) for part in value]

    return mask


def is_masked(name: str, own: frozenset[str] = frozenset()) -> bool:
    """Whether a value of this name is not to be seen; `own` are the definition's names, in lower case."""
    return name.casefold() in own or _is_always_masked(name)


def _seen(name: str, part: Any, own: frozenset[str]) -> str | None:
    """What is seen instead of what stands under this name; None when that may be seen itself."""
    return MASK if part is not None and is_masked(name, own) else None


def _hidden(value: Any, own: frozenset[str], levels: int, *, under: bool = False) -> Iterator[str]:
    """The texts of all masked values."""
    if isinstance(value, Mapping | list | tuple) and levels:
        parts = value.items() if isinstance(value, Mapping) else ((None, part) for part in value)
        for name, part in parts:
            masks = under or (name is not None and is_masked(name, own))
            yield from _hidden(part, own, levels - 1, under=masks)
    elif under and type(value) in {str, int, float} and len(text := str(value)) >= SHORTEST:
        yield text


@lru_cache(maxsize=512)
def _spellings(texts: frozenset[str]) -> re.Pattern[str]:
    """What finds these texts, the longest first: in any case, and as an address or JSON would have each character."""
    longest = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(_spelling, longest)), re.IGNORECASE)


def _spelling(text: str) -> str:
    """A number, such as a card's, a phone's or an IBAN, is found however it is grouped."""
    if _NUMBER.fullmatch(text) and sum(each.isdecimal() for each in text) >= FEWEST_DIGITS:
        return _GROUPED.join(each for each in text if each.isalnum())
    return "".join(map(_written, text))


@lru_cache(maxsize=1024)
def _written(character: str) -> str:
    """All the ways to write it."""
    ways = {character, quote(character, safe="", errors="replace"), *_ALSO.get(character, ())}
    ways |= {json.dumps(character, ensure_ascii=plain)[1:-1] for plain in (True, False)}
    found = "|".join(map(re.escape, sorted(ways, key=lambda way: (-len(way), way))))
    return f"(?:{found})" if len(ways) > 1 else found


@lru_cache(maxsize=4096)
def _is_always_masked(name: str) -> bool:
    words = _words(name)
    spans = {words[start:end] for start in range(len(words)) for end in range(start + 1, start + 1 + _LONGEST)}
    return bool(spans & _ANYWHERE) or any(words[start:] in _AT_THE_END for start in range(len(words)))


def _words(name: str) -> tuple[str, ...]:
    """The words of a name, without accents, digits, or the s of a plural."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    return tuple(word.lower().removesuffix("s") for word in _WORD.findall(plain))


def _phrases(texts: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """Each phrase by its words, and written together."""
    return frozenset(words for text in texts for words in (_words(text), _words(text.replace(" ", ""))))


_ANYWHERE, _AT_THE_END = _phrases(ANYWHERE), _phrases(AT_THE_END)
