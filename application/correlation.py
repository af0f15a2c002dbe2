"""The id that joins all that is said of one business request: in headers, log lines and the database."""

import re
from hashlib import sha256

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
RULE = "must be 1 to 128 letters, digits or ._:/+=@-"
_DIGEST = 32


def acceptable(value: str) -> bool:
    """Whether an id from outside can be passed on in headers and logs as it is."""
    return _ACCEPTABLE.fullmatch(value) is not None


def of_message(topic: str, key: str, said: str | None) -> str:
    """The id of a saga that a message starts: what the message says, or else its topic and key, or else a digest of the
    key. It is the same when the message comes again.
    """
    if said is not None and acceptable(said):
        return said
    plain = f"{topic}:{key}"
    if acceptable(plain):
        return plain
    digest = sha256(key.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{topic[: 128 - _DIGEST - 1]}:{digest}"
