"""JSON from outside that can be stored, sent on and read by everybody: what is checked of it, whoever decodes it."""

import json
from enum import StrEnum
from math import isinf
from typing import Any, NoReturn

LARGEST_WHOLE = 2.0**53
"""Up to here a float is exactly the whole number that it shows."""
DEEPEST = 64
"""Levels of lists and objects: more is a mistake or an attack, and what checks and stores it has limits of its own."""


class Flaw(StrEnum):
    """What JSON may say and nobody should."""

    DEEP = f"more than {DEEPEST} levels"
    NUL = "a NUL character (\\u0000) in a text"
    SURROGATE = "half a character (a lone surrogate) in a text"


def decoded(body: bytes) -> Any:
    """The value of this JSON: no NaN, no lone surrogates, no NUL (PostgreSQL cannot store it), not too deep.

    Raises ValueError, which says why. The API, which is asked more often, decodes by quicker means to the same values.
    """
    try:
        value = json.loads(body.decode(), parse_float=number, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"it has more than {DEEPEST} levels") from None
    fault = flaw(value, body)
    if fault:
        raise ValueError(f"it has {fault}")
    return value


def number(text: str) -> float | int:
    """`2.0` is 2: JSON has one kind of number, JSON Schema calls both an integer, and whatever reads it next may not.

    Raises ValueError for one that is beyond all numbers.
    """
    value = float(text)
    if isinf(value):
        raise ValueError("Number out of range")
    return int(value) if abs(value) <= LARGEST_WHOLE and value.is_integer() else value


def flaw(value: Any, body: bytes) -> Flaw | None:
    """What of this value, which the body says, cannot be stored; None for nothing."""
    if body.count(b"[") + body.count(b"{") > DEEPEST and _is_deeper(value, DEEPEST):
        return Flaw.DEEP
    if b"\\u" not in body:
        return None
    said = _texts(value)
    if "\0" in said:
        return Flaw.NUL
    if any("\ud800" <= character <= "\udfff" for character in said):
        return Flaw.SURROGATE
    return None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _texts(value: Any) -> str:
    """Every text in a value that is not too deep, in one."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(key + _texts(part) for key, part in value.items())
    return "".join(map(_texts, value)) if isinstance(value, list) else ""


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects nest further than this."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)
