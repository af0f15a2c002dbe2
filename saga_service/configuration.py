"""The environment, read once and typed. With DEBUG off a missing or example secret stops the start."""

import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from domain.definition_faults import TOPIC_NAME, TOPIC_SHAPE
from domain.exceptions import TemplateError
from domain.templates import is_whole, parse
from saga_service import observability

EXAMPLE_API_KEY = "magasin-secret-key-2025"
EXAMPLE_GATEWAY_SECRET = "dev-gateway-secret"  # noqa: S105 - the development default, refused with DEBUG off
EXAMPLE_SECRET_KEY = "development-only-secret-key-of-the-saga-orchestrator"  # noqa: S105 - as above

SERVICES = {
    "catalogue": "CATALOGUE_URL",
    "inventaire": "INVENTAIRE_URL",
    "commandes": "COMMANDES_URL",
    "betting": "BETTING_SERVICE_URL",
    "wallet": "WALLET_SERVICE_URL",
    "risk-management": "RISK_MANAGEMENT_SERVICE_URL",
    "orders": "ORDER_SERVICE_URL",
    "payments": "PAYMENT_SERVICE_URL",
    "flights": "FLIGHT_SERVICE_URL",
    "loyalty": "LOYALTY_SERVICE_URL",
    "integraciones": "INTEGRACIONES_API_URL",
    "alianzas": "ALIANZAS_API_URL",
}
"""Each participant's name, and the variable that reaches it at another address than the gateway's."""

CONNECTION_OPTIONS: Mapping[str, object] = {
    "connect_timeout": 3,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's; seconds, the last milliseconds. A database that is gone without a word is noticed before a driver's lease is
over. The query of DATABASE_URL may say otherwise."""

_VISIBLE = re.compile(r"[\x21-\x7e]*")
"""What a header carries as it is; a key with anything else would fail, and be repeated, in the middle of a saga."""

_BROKER = re.compile(r"pulsar(?:\+ssl)?://[A-Za-z0-9._\-\[\]:]+:[0-9]{1,5}(?:,[A-Za-z0-9._\-\[\]:]+:[0-9]{1,5})*")

SHORTEST_SECRET = 16

ROLES = frozenset({"saga-client", "saga-reader", "saga-operator", "saga-admin"})


class ConfigurationError(Exception):
    """The environment is wrong; the message names the variable and what to put there."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A caller of the orchestrator's own, without the gateway: `name:role:key` in SAGA_API_KEYS."""

    name: str
    role: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that the environment decides. Times are seconds."""

    debug: bool
    secret_key: str = field(repr=False)
    gateway_url: str
    gateway_key: str = field(repr=False)
    gateway_secret: str = field(repr=False)
    services: Mapping[str, str]
    api_keys: tuple[ApiKey, ...]
    saga_timeout: float
    max_retries: int
    cashout_rate: int
    """Requests a minute of each caller that start, roll back or retry a cash-out; 0 does not limit them."""
    breaker_failures: int
    breaker_seconds: float
    participant_calls: int
    broker_url: str
    triggers: tuple[Mapping[str, Any], ...]
    """Messages that start sagas: `topic`, `workflow`, `input` and perhaps `when`."""
    """Apache Pulsar; empty where there is none."""
    allowed_hosts: tuple[str, ...]
    log_level: str
    log_levels: Mapping[str, str]
    """Of single loggers, by name."""
    log_file: str | None
    """Where log lines go; None means standard error."""
    tracing: bool
    """Whether OpenTelemetry traces are sent."""
    log_directory: str | None
    """Where the booking's log files are written; None writes none."""
    log_correlation: bool
    """Whether their lines end with the correlation id."""
    fault_injection: bool
    """Whether sagas may be told to fail on purpose."""
    metrics: bool
    """Whether requests, sagas, steps and calls are counted."""
    database: Mapping[str, object] | None = field(repr=False)
    """Django's settings of the database; None means the embedded PostgreSQL."""


def read(environment: Mapping[str, str] = os.environ) -> Configuration:
    """The configuration. Raises ConfigurationError with every fault named."""
    faults: list[str] = []
    debug = _flag(environment, "DEBUG", faults)
    gateway_url = _url(environment, "KONG_GATEWAY_URL", "http://localhost:8080", faults)
    configuration = Configuration(
        debug=debug,
        secret_key=_secret(environment, "SECRET_KEY", EXAMPLE_SECRET_KEY, faults, debug=debug),
        gateway_url=gateway_url,
        gateway_key=_secret(environment, "KONG_API_KEY", EXAMPLE_API_KEY, faults, debug=debug),
        gateway_secret=_secret(environment, "GATEWAY_SHARED_SECRET", EXAMPLE_GATEWAY_SECRET, faults, debug=debug),
        services={
            # One behind the gateway is as wrong as the gateway's own URL, which is told of once.
            name: _url(environment, variable, f"{gateway_url}/api/{name}", faults if environment.get(variable) else [])
            for name, variable in SERVICES.items()
        },
        api_keys=_api_keys(environment, faults, debug=debug),
        saga_timeout=_number(environment, "SAGA_TIMEOUT", 30.0, 1, faults),
        max_retries=_whole(environment, "MAX_RETRIES", 3, 0, faults),
        cashout_rate=_whole(environment, "SAGA_CASHOUT_RATE", 600, 0, faults),
        breaker_failures=_whole(environment, "SAGA_BREAKER_FAILURES", 5, 0, faults),
        breaker_seconds=_number(environment, "SAGA_BREAKER_SECONDS", 5.0, 0.1, faults),
        participant_calls=_whole(environment, "SAGA_PARTICIPANT_CALLS", 12, 3, faults),
        broker_url=_broker(environment, faults),
        triggers=_triggers(environment, faults),
        allowed_hosts=_texts(environment.get("ALLOWED_HOSTS") or ("*" if debug else "")),
        log_level=_level(environment, faults),
        log_levels=observability.levels(environment, faults),
        log_file=observability.log_file(environment, faults),
        tracing=observability.tracing(environment, faults),
        log_directory=_directory(environment, "SAGA_LOG_DIRECTORY", faults),
        log_correlation=_flag(environment, "SAGA_LOG_CORRELATION", faults),
        fault_injection=_flag(environment, "SAGA_FAULT_INJECTION", faults),
        metrics=_flag({"SAGA_METRICS": "True", **environment}, "SAGA_METRICS", faults),
        database=_database(environment, faults),
    )
    if not debug and not configuration.allowed_hosts:
        faults.append("ALLOWED_HOSTS: name the hosts that this service answers to, separated by commas")
    if not debug and configuration.database is None:
        faults.append("DATABASE_URL: set it, or DB_HOST and its companions; the embedded PostgreSQL is for development")
    if not debug and configuration.fault_injection:
        faults.append(
            "SAGA_FAULT_INJECTION: only with DEBUG=True; with it any client can have its sagas fail on purpose"
        )
    if faults:
        raise ConfigurationError("The environment is wrong:\n  " + "\n  ".join(faults))
    return configuration


def _flag(environment: Mapping[str, str], name: str, faults: list[str]) -> bool:
    value = environment.get(name, "False").strip().lower()
    if value not in {"true", "false", "1", "0", "yes", "no", "on", "off", ""}:
        faults.append(f"{name}: {value!r} is neither True nor False")
    return value in {"true", "1", "yes", "on"}


def _secret(environment: Mapping[str, str], name: str, example: str, faults: list[str], *, debug: bool) -> str:
    value = environment.get(name, "")
    if not value and not debug:
        faults.append(f"{name}: set it; there is a default only with DEBUG=True")
    elif value == example and not debug:
        faults.append(f"{name}: the example value is public; choose another (or DEBUG=True for development)")
    elif value and len(value) < SHORTEST_SECRET and not debug:
        faults.append(f"{name}: {SHORTEST_SECRET} characters at least, so that nobody guesses it")
    elif not _VISIBLE.fullmatch(value):
        faults.append(f"{name}: only visible ASCII characters can be sent; is there a space or a line end in it?")
    return value or (example if debug else "")


def _url(environment: Mapping[str, str], name: str, default: str, faults: list[str]) -> str:
    value = (environment.get(name) or default).rstrip("/")
    if not _is_url(value):
        faults.append(f"{name}: must be an http(s) URL without a user, a query or a fragment, like http://kong:8080")
    return value


def _triggers(environment: Mapping[str, str], faults: list[str]) -> tuple[Mapping[str, Any], ...]:
    shape = '[{"topic": "...", "workflow": "...", "input": {... "${message.field}" ...}, "when"?: "${...}"}]'
    try:
        given = json.loads(environment.get("SAGA_TRIGGERS") or "[]")
        needed = {"topic", "workflow", "input"}
        whole = all(needed <= set(each) <= {*needed, "when"} and each["topic"] and each["workflow"] for each in given)
        list(_expressions([each["input"] for each in given] if whole else []))
        whole = whole and all(is_whole(each["when"]) for each in given if "when" in each)
    except (ValueError, TypeError, TemplateError) as error:
        faults.append(f"SAGA_TRIGGERS: must be JSON like {shape}: {error}")
        return ()
    if not whole:
        faults.append(f"SAGA_TRIGGERS: must be JSON like {shape}")
        return ()
    topics = [each["topic"] for each in given]
    impossible = [each for each in topics if not isinstance(each, str) or not TOPIC_NAME.fullmatch(each)]
    faults.extend(f"SAGA_TRIGGERS: the topic {each!r} must be {TOPIC_SHAPE}" for each in impossible)
    return tuple(given)


def _expressions(template: Any) -> Iterator[object]:
    """Parses every text of a template. Raises TemplateError."""
    if isinstance(template, str):
        yield parse(template)
    elif isinstance(template, dict | list):
        for part in template.values() if isinstance(template, dict) else template:
            yield from _expressions(part)


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(known) and _VISIBLE.fullmatch(value) is not None and not {"@", "?", "#"} & set(value)


def _broker(environment: Mapping[str, str], faults: list[str]) -> str:
    value = (environment.get("BROKER_URL") or "").rstrip("/")
    if value and not _BROKER.fullmatch(value):
        faults.append("BROKER_URL: must be pulsar://host:port or pulsar+ssl://host:port, several hosts with commas")
    return value


def _level(environment: Mapping[str, str], faults: list[str]) -> str:
    value = (environment.get("LOG_LEVEL") or "INFO").upper()
    if value not in logging.getLevelNamesMapping():
        faults.append(f"LOG_LEVEL: {value!r} is none of {', '.join(logging.getLevelNamesMapping())}")
    return value


def _directory(environment: Mapping[str, str], name: str, faults: list[str]) -> str | None:
    value = environment.get(name)
    if value and not (os.path.isdir(value) and os.access(value, os.W_OK)):  # noqa: PTH112 - as the process sees it
        faults.append(f"{name}: {value!r} is not a directory that this process may write to")
    return value or None


def _texts(value: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in value.split(","))))


def _whole(environment: Mapping[str, str], name: str, default: int, least: int, faults: list[str]) -> int:
    number = _number(environment, name, default, least, faults)
    if number % 1:
        faults.append(f"{name}: must be a whole number")
    return int(number)


def _number(environment: Mapping[str, str], name: str, default: float, least: float, faults: list[str]) -> float:
    value = environment.get(name) or str(default)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not least <= number <= 86400:  # noqa: PLR2004 - a day
        faults.append(f"{name}: {value!r} is not a number from {least} to 86400")
        return default
    return number


def _api_keys(environment: Mapping[str, str], faults: list[str], *, debug: bool) -> tuple[ApiKey, ...]:
    keys = []
    for place, entry in enumerate(_texts(environment.get("SAGA_API_KEYS", "")), start=1):
        name, role, key = (*entry.split(":", 2), "", "")[:3]
        if not name or role not in ROLES or len(key) < SHORTEST_SECRET or not _VISIBLE.fullmatch(key):
            # By its place, not its name: where the colons are missing the name is the key.
            shape = f"name:role:key, role in {sorted(ROLES)}, key of {SHORTEST_SECRET} or more visible ASCII characters"
            faults.append(f"SAGA_API_KEYS: entry {place} must be {shape}")
        elif key == EXAMPLE_API_KEY and not debug:
            faults.append(f"SAGA_API_KEYS: the key of entry {place} is the public example; choose another")
        keys.append(ApiKey(name, role, key))
    return tuple(keys)


def _database(environment: Mapping[str, str], faults: list[str]) -> Mapping[str, object] | None:
    url = environment.get("DATABASE_URL")
    if url:
        try:
            return database_settings(url)
        except ValueError:
            faults.append("DATABASE_URL: must be postgresql://user:password@host:port/name, special characters as %XX")
            return {}
    if environment.get("DB_HOST"):
        return {
            "HOST": environment["DB_HOST"],
            "PORT": str(_whole(environment, "DB_PORT", 5432, 1, faults)),
            "NAME": environment.get("DB_NAME", "saga"),
            "USER": environment.get("DB_USER", "saga"),
            "PASSWORD": environment.get("DB_PASSWORD", ""),
            "OPTIONS": dict(CONNECTION_OPTIONS),
        }
    return None


def database_settings(url: str) -> Mapping[str, object]:
    """Django's settings of a `postgresql://` URL; its query (`?sslmode=require`) is libpq's. Raises ValueError."""
    parts = urlsplit(url)
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in {"postgres", "postgresql"} or not name or "/" in name:
        raise ValueError("this is not the URL of a PostgreSQL database")
    return {
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or 5432),
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "OPTIONS": {**CONNECTION_OPTIONS, **dict(parse_qsl(parts.query))},
    }
