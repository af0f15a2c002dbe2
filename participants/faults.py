"""Scripted faults: rules that say which calls go wrong, how, and how often. Counting is all that happens here."""

import random
import re
import threading
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Final

from participants.validation import RequestError, invalid

KINDS: Final = {
    "fail": "answer `status` (500) without touching the database",
    "delay": "wait `seconds` (1), then execute and answer",
    "answer_lost": "execute, then close the connection without an answer",
    "duplicate": "execute twice at once, as a network may deliver a call twice; the first answer is sent",
    "html": "execute, then answer an HTML page with `status` (200)",
    "truncated": "execute, then send half of the answer and close the connection",
    "drip": "execute, then send the answer byte by byte over `seconds` (1)",
    "reset": "reset the connection at once, without touching the database",
}
MESSAGE: Final = "MESSAGE"
"""The `method` of a command that comes over a broker; its `path` is the topic, a slash, and the command's type."""
MESSAGE_KINDS: Final = {
    "rejected": "refuse the command and answer so",
    "failed": "fail before the command is executed; the broker delivers it again",
    "ignored": "lose the command: neither execute nor answer",
    "unanswered": "execute, never answer",
    "answered_late": "execute, answer `seconds` (1) later",
    "answered_twice": "execute, send the answer twice",
    "answered_malformed": "execute, send bytes that are no JSON instead of the answer",
    "answered_for_nobody": "execute, answer for a saga that there is not instead",
}
ALL_KINDS: Final = {**KINDS, **MESSAGE_KINDS}
EXECUTED_BY_DEFAULT: Final = frozenset(ALL_KINDS) - {"fail", "reset", "rejected", "failed", "ignored"}
CHOOSABLE: Final = frozenset({"fail", "html", "truncated", "drip", "reset"})
"""Kinds for which `execute` may say otherwise: fail may have done its work, html may come from a proxy in between."""
OPTIONS: Final = frozenset(
    {"match", "fault", "status", "headers", "seconds", "times", "rate", "seed", "after", "execute"}
)
MATCHES: Final = frozenset({"method", "path", "key"})
LONGEST_SECONDS: Final = 600
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]+")


@dataclass(slots=True)
class Rule:
    """One scripted fault, and how often it was met and used."""

    fault: str
    match: dict[str, str]
    status: int
    headers: dict[str, str]
    seconds: float
    times: int | None
    rate: float
    seed: int | None
    after: int
    execute: bool
    matched: int = 0
    used: int = 0
    draws: random.Random = field(default_factory=random.Random, repr=False)

    def applies(self, method: str, path: str, key: str) -> bool:
        wanted = self.match
        return (
            wanted.get("method", method) == method and wanted.get("path", "") in path and wanted.get("key", "") in key
        )

    def fires(self) -> bool:
        """Count one matching call, and decide: after the first `after`, at most `times`, with chance `rate`."""
        self.matched += 1
        if self.matched <= self.after or (self.times is not None and self.used >= self.times):
            return False
        if self.draws.random() >= self.rate:
            return False
        self.used += 1
        return True

    def shown(self) -> dict[str, Any]:
        names = ("fault", "match", "status", "headers", "seconds", "times", "rate", "seed", "after", "execute")
        return {name: getattr(self, name) for name in (*names, "matched", "used")}


class Faults:
    """The rules of one running service, in the order in which they were given; the first that fires wins."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        rule = parse_rule(body)
        with self._lock:
            self._rules.append(rule)
            return rule.shown()

    def shown(self) -> list[dict[str, Any]]:
        with self._lock:
            return [rule.shown() for rule in self._rules]

    def clear(self) -> int:
        with self._lock:
            cleared, self._rules = len(self._rules), []
            return cleared

    def pick(self, method: str, path: str, key: str, kinds: Container[str] = KINDS) -> Rule | None:
        with self._lock:
            rules = [rule for rule in self._rules if rule.fault in kinds]
            return next((rule for rule in rules if rule.applies(method, path, key) and rule.fires()), None)


def parse_rule(body: dict[str, Any]) -> Rule:
    """Check a rule as it arrives; every fault in it is a 400 that says what would be right."""
    _only(body, OPTIONS, "a rule")
    fault = body.get("fault")
    if fault not in ALL_KINDS:
        raise invalid(f"fault must be one of {', '.join(ALL_KINDS)}")
    seed = _whole(body, "seed", None, least=None)
    return Rule(
        fault=fault,
        match=_match(body.get("match", {})),
        status=_status(body, fault),
        headers=_headers(body.get("headers", {})),
        seconds=_number(body, "seconds", 1.0, LONGEST_SECONDS),
        times=_whole(body, "times", None, least=1),
        rate=_number(body, "rate", 1.0, 1),
        seed=seed,
        after=_whole(body, "after", 0, least=0) or 0,
        execute=_execute(body, fault),
        draws=random.Random(seed),  # noqa: S311  repeatable on purpose
    )


def _only(value: dict[str, Any], known: frozenset[str], what: str) -> None:
    if unknown := sorted(set(value) - known):
        raise invalid(f"{what} has no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")


def _match(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(part, str) for part in value.values()):
        raise invalid("match must be an object of texts")
    _only(value, MATCHES, "match")
    return {**value, "method": value["method"].upper()} if "method" in value else value


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(_is_header(name, text) for name, text in value.items()):
        raise invalid("headers must be an object of header names and printable texts")
    return value


def _is_header(name: str, text: object) -> bool:
    plain = HEADER_NAME.fullmatch(name) is not None and name.lower() not in {"content-length", "connection"}
    return plain and isinstance(text, str) and text.isprintable() and text.isascii()


def _status(body: dict[str, Any], fault: str) -> int:
    status = _whole(body, "status", 200 if fault == "html" else 500, least=200)
    if status is None or status > 599:  # noqa: PLR2004  the last HTTP status
        raise invalid("status must be an HTTP status from 200 to 599")
    return status


def _execute(body: dict[str, Any], fault: str) -> bool:
    default = fault in EXECUTED_BY_DEFAULT
    execute = body.get("execute", default)
    if not isinstance(execute, bool):
        raise invalid("execute must be true or false")
    if execute != default and fault not in CHOOSABLE:
        raise invalid(f"{fault} always executes the call")
    return execute


def _whole(body: dict[str, Any], name: str, default: int | None, *, least: int | None) -> int | None:
    value = body.get(name, default)
    if value is None and default is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
        raise invalid(f"{name} must be a whole number" + (f" from {least} on" if least is not None else ""))
    return value


def _number(body: dict[str, Any], name: str, default: float, most: float) -> float:
    value = body.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool | str) or not 0 <= number <= most:
        raise invalid(f"{name} must be a number from 0 to {most}")
    return number


def fault_error(status: int) -> RequestError:
    """What a call hears that was made to fail."""
    return RequestError(status, "scripted_fault", "This call was made to fail by a rule of /_faults")
