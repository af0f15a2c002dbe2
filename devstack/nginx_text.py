"""The words of an nginx configuration: strings, patterns and the gateway's own answers, safely written."""

import re

from devstack.kong_file import KongFileError


def plain(value: object) -> str:
    """Text that can stand in an nginx string: refuses what could end the string or be read as a variable."""
    text = str(value)
    if not text.isprintable() or not text.isascii() or set(text) & set('"\\$'):
        raise KongFileError("a value holds a quote, a backslash, a $ or a character that is not printable ASCII")
    return text


def quoted(value: object) -> str:
    return f'"{plain(value)}"'


def pattern(value: str) -> str:
    """An nginx regular expression that matches the value exactly, in its own case."""
    return f'"~^{re.escape(plain(value))}$"'


def header_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise KongFileError(f"header name {name!r}: only letters, digits and hyphens are known")
    return name


def answer(status: int, message: str) -> str:
    """An answer of the gateway's own. The message may be an nginx variable of ours."""
    body = f'{{\\n  "message":"{message}",\\n  "request_id":"$request_id"\\n}}'
    return f"return {status} '{body}';"
